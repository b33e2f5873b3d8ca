"""Drawn faces: a data set of grey faces that needs no download and whose labels and action units are known exactly.

:func:`draw_faces` draws any mixture of the seven emotions; :func:`drawn_set` is a labelled split whose people appear in
no other split. Face i is a pure function of (seed, i), whatever else is drawn beside it.

``python -m encoder.drawn --count 49 --out sheet.png`` draws a contact sheet.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from configs.cli import UserError
from encoder.action_units import NUM_UNIFORMS, blend
from encoder.counter_random import hash64, uniforms
from encoder.emotions import EMOTION_NAMES, FERPLUS_NAMES, NUM_EMOTIONS
from encoder.face_geometry import shape_face
from encoder.face_renderer import MAX_SIZE, render
from encoder.face_set import SPLITS, FaceSet, Split
from encoder.face_traits import sample_traits, sample_views

MIN_SIZE = 16
DEFAULT_INTENSITY = (0.6, 1.0)  # range of intensities where none are asked for

_EXPRESSION_STREAM, _INTENSITY_STREAM, _IDENTITY_STREAM = 3, 4, 5
_IDENTITY_BITS = 48  # the split is written above these bits, so that no two splits can share a person


@dataclass(frozen=True)
class DrawnFaces:
    """N drawn faces with everything that is known about them.

    Attributes:
        images: (N, size, size) uint8 grey.
        distributions: (N, 7) float32 over ``Emotion``, as asked for.
        labels: (N,) int8, the largest entry of each distribution.
        intensities: (N,) float32 in [0, 1]: how strongly the expression is shown; 0 looks neutral whatever the label.
        action_units: (N, n_AU) float32 in [0, 1], columns in the order of ``action_units.AU_NUMBERS``.
        identity: (N,) int64: faces with one number show one person.
    """

    images: NDArray[np.uint8]
    distributions: NDArray[np.float32]
    labels: NDArray[np.int8]
    intensities: NDArray[np.float32]
    action_units: NDArray[np.float32]
    identity: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.images)


def draw_faces(
    count: int,
    *,
    seed: int,
    size: int = 64,
    distribution: ArrayLike | None = None,
    intensity: ArrayLike | None = None,
    identity_seeds: ArrayLike | None = None,
    start: int = 0,
    variation: float = 1.0,
    jitter: float = 1.0,
) -> DrawnFaces:
    """Draw the faces number ``start`` to ``start + count - 1`` of the series ``seed``.

    Args:
        count: how many faces, 0 or more.
        seed: any integer of 0 or more; another seed, other people and pictures.
        size: side in pixels, 16..256.
        distribution: (7,) for all faces or (count, 7), entries of 0 or more, normalised to sum 1. None: the seven
            emotions in turn, so that any run of seven faces shows each once.
        intensity: one number or (count,) in [0, 1]. None: uniform in DEFAULT_INTENSITY.
        identity_seeds: one integer or (count,) integers of 0 or more: who is drawn. None: a new person per face.
        start: number of the first face; ``draw_faces(2, seed=0, start=3)`` are the last two of five.
        variation: scales pose, uneven light, blur and noise; 0 is a frontal, evenly lit, sharp face.
        jitter: scales the variation of single action units around the prototype of the emotion.

    Raises:
        UserError: an argument outside its range or of the wrong shape.
    """
    _check_whole("count", count)
    _check_whole("seed", seed)
    _check_whole("start", start)
    if not MIN_SIZE <= size <= MAX_SIZE:
        raise UserError(f"size of drawn faces must lie between {MIN_SIZE} and {MAX_SIZE} pixels, got {size}")
    for name, value in (("variation", variation), ("jitter", jitter)):
        if not 0.0 <= value <= 1.0:
            raise UserError(f"{name} must lie between 0 and 1, got {value}")
    indices = np.arange(start, start + count, dtype=np.int64)
    distributions = _distributions(distribution, indices)
    intensities = _intensities(intensity, indices, seed)
    identity = _identities(identity_seeds, indices, seed)
    chance = uniforms(seed, indices, _EXPRESSION_STREAM, count=NUM_UNIFORMS)
    action_units = blend(distributions, intensities, chance, jitter)
    traits = sample_traits(identity)
    view = sample_views(seed, indices, variation)
    return DrawnFaces(
        images=render(traits, view, shape_face(traits, action_units), size),
        distributions=distributions,
        labels=distributions.argmax(axis=1).astype(np.int8),
        intensities=intensities,
        action_units=action_units,
        identity=identity,
    )


def drawn_set(split: Split, count: int, *, seed: int = 0, size: int = 48) -> FaceSet:
    """A split of labelled drawn faces: each person shows the seven emotions in turn, one after the other.

    People of different splits never overlap, whatever the seeds. A longer set starts with the shorter one. Labels are
    exact, so there are no votes: ``FaceSet.distributions()`` is one-hot.

    Raises:
        UserError: unknown split, or ``count``, ``seed`` or ``size`` outside their ranges.
    """
    if split not in SPLITS:
        raise UserError(f"unknown split {split!r}: the splits are {', '.join(SPLITS)}")
    _check_whole("count", count)
    _check_whole("seed", seed)
    number = SPLITS.index(split)
    people = hash64(seed, number, np.arange(count) // NUM_EMOTIONS) >> np.uint64(64 - _IDENTITY_BITS)
    identity = people.astype(np.int64) + (number << _IDENTITY_BITS)
    series = int(hash64(seed, number) >> np.uint64(1))  # so that the splits differ in pose and light too
    faces = draw_faces(count, seed=series, size=size, identity_seeds=identity)
    return FaceSet(
        images=faces.images,
        labels=faces.labels,
        votes=np.zeros((count, len(FERPLUS_NAMES)), np.float32),
        ids=tuple(f"drawn-{split}-{index:07d}" for index in range(count)),
        source="drawn",
        identities=np.array([f"drawn-{person:013x}" for person in identity.tolist()], object),
    )


def contact_sheet(images: NDArray[np.uint8], columns: int, scale: int = 1) -> NDArray[np.uint8]:
    """(N, S, S) uint8 faces in rows of ``columns`` on white, each enlarged ``scale`` times: (height, width) uint8."""
    count, size = images.shape[0], images.shape[1]
    rows = -(-count // columns)
    cell = size * scale + 2
    sheet = np.full((rows * cell + 2, columns * cell + 2), 255, np.uint8)
    for index, image in enumerate(images):
        top, left = (index // columns) * cell + 2, (index % columns) * cell + 2
        enlarged = image.repeat(scale, axis=0).repeat(scale, axis=1)
        sheet[top : top + size * scale, left : left + size * scale] = enlarged
    return sheet


def _check_whole(name: str, value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not 0 <= value < 2**63:
        raise UserError(f"{name} must be a whole number of 0 or more, got {value!r}")


def _distributions(asked: ArrayLike | None, indices: NDArray[np.int64]) -> NDArray[np.float32]:
    count = len(indices)
    if asked is None:
        return np.eye(NUM_EMOTIONS, dtype=np.float32)[indices % NUM_EMOTIONS]
    given = np.asarray(asked, np.float64)
    if given.shape not in ((NUM_EMOTIONS,), (count, NUM_EMOTIONS)):
        raise UserError(
            f"distribution must have shape ({NUM_EMOTIONS},) or ({count}, {NUM_EMOTIONS}), got {given.shape}; "
            f"its order is {', '.join(EMOTION_NAMES)}"
        )
    total = given.sum(axis=-1, keepdims=True)
    if not (np.isfinite(given).all() and (given >= 0).all() and (total > 0).all()):
        raise UserError("distribution must hold finite numbers of 0 or more, at least one of them above 0 in each row")
    return np.broadcast_to(given / total, (count, NUM_EMOTIONS)).astype(np.float32)


def _intensities(asked: ArrayLike | None, indices: NDArray[np.int64], seed: int) -> NDArray[np.float32]:
    if asked is None:
        low, high = DEFAULT_INTENSITY
        return low + (high - low) * uniforms(seed, indices, _INTENSITY_STREAM, count=1)[:, 0]
    given = np.asarray(asked, np.float32)
    if given.shape not in ((), (len(indices),)):
        raise UserError(f"intensity must be one number or ({len(indices)},), got shape {given.shape}")
    if not ((given >= 0) & (given <= 1)).all():
        raise UserError("intensity must lie between 0 (neutral) and 1 (full)")
    return np.broadcast_to(given, indices.shape).copy()


def _identities(asked: ArrayLike | None, indices: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    if asked is None:
        return (hash64(seed, indices, _IDENTITY_STREAM) >> np.uint64(1)).astype(np.int64)
    given = np.asarray(asked)
    if given.shape not in ((), indices.shape):
        raise UserError(f"identity_seeds must be one number or ({len(indices)},), got shape {given.shape}")
    if given.size and (given.dtype.kind not in "iu" or given.min() < 0 or given.max() >= 2**63):
        raise UserError("identity_seeds must be whole numbers of 0 or more")
    return np.broadcast_to(given.astype(np.int64), indices.shape).copy()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m encoder.drawn",
        description="Draw grey faces that show an emotion and save them as one contact sheet.",
        epilog="""examples:
  python -m encoder.drawn --count 49 --out sheet.png            seven people, each with the seven emotions
  python -m encoder.drawn --emotion fear --count 16             sixteen people who show fear
  python -m encoder.drawn --emotion fear:0.7,surprise:0.3       a mixture
  python -m encoder.drawn --emotion happiness --strip --count 9 one person, from neutral to full
""",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--count", type=int, default=49, help="number of faces (default: 49)")
    parser.add_argument("--out", type=Path, default=Path("drawn.png"), help="PNG to write (default: drawn.png)")
    parser.add_argument("--emotion", help="an emotion or a mixture; without it each person shows all seven")
    parser.add_argument("--intensity", type=float, help="0 (neutral) to 1 (full); default: 0.6 to 1 by chance")
    parser.add_argument("--strip", action="store_true", help="one person per row of faces, intensity rising from 0 to 1")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other people (default: 0)")
    parser.add_argument("--size", type=int, default=64, help="side of a face in pixels, 16 to 256 (default: 64)")
    parser.add_argument("--columns", type=int, help="faces per row (default: 7, with --emotion about a square)")
    parser.add_argument("--scale", type=int, default=2, help="enlargement of each face (default: 2)")
    return parser
