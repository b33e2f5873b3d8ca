"""Sets of drawn faces with exactly known emotion, intensity and identity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from configs.cli import UserError
from configs.values import real, refuse, whole
from encoder.drawing import action_units
from encoder.drawing.geometry import shape_face
from encoder.drawing.landmarks import landmarks
from encoder.drawing.renderer import render
from encoder.drawing.traits import sample_traits, sample_views
from encoder.emotions import NUM_EMOTIONS, Emotion, as_distribution
from engine.counter_random import hash64, uniforms

if TYPE_CHECKING:
    from encoder.data.face_set import FaceSet, OnError

MAX_COUNT, MIN_SIZE, MAX_SIZE = 10_000_000, 16, 512
WEAKEST, STRONGEST = 0.6, 1.0  # intensities of a data set's faces
_EXPRESSION_STREAM, _INTENSITY_STREAM, _IDENTITY_STREAM = 11, 12, 13
# Identities of the splits lie in ranges that never meet.
_SPLIT_BASE = {"train": 0, "valid": 1 << 40, "test": 1 << 41}


@dataclass(frozen=True)
class DrawnFaces:
    """N drawn faces and everything that is true of them.

    Attributes:
        images: (N, S, S) uint8 grey.
        distributions: (N, 7) float32: the emotion with its intensity, ``intensity * asked + (1 - intensity) * neutral``.
        action_units: (N, n_AU) float32 in [0, 1], columns in the order of ``action_units.AU_NUMBERS``.
        labels: (N,) int8, the likeliest of the emotions asked for, whatever the intensity.
        identity: (N,) int64; equal numbers are the same person.
        intensity: (N,) float32.
        landmarks: (N, 68, 2) float32 x and y in pixels, in the order of iBUG 300-W.
    """

    images: NDArray[np.uint8]
    distributions: NDArray[np.float32]
    action_units: NDArray[np.float32]
    labels: NDArray[np.int8]
    identity: NDArray[np.int64]
    intensity: NDArray[np.float32]
    landmarks: NDArray[np.float32]


def draw_faces(
    count: int,
    *,
    seed: int,
    size: int = 64,
    distribution: ArrayLike | Mapping[Any, float] | None = None,
    intensity: ArrayLike | None = None,
    identities: ArrayLike | None = None,
    variation: float = 1.0,
    units: Mapping[int, float] | None = None,
    first: int = 0,
) -> DrawnFaces:
    """Draw ``count`` faces.

    Args:
        seed: of who they are, how they are seen and how they move.
        size: side in pixels.
        distribution: (7,) or (N, 7) over the emotions; or a name, an Emotion or a mapping, or a list of such, one a face; None:
            each emotion in turn, face i shows ``i mod 7``.
        intensity: scalar or (N,) in [0, 1]; None: uniform from 0.6 to 1.
        identities: (N,) integers, equal for equal people; None: everybody is somebody else.
        variation: 0 frontal, sharp and evenly lit, without jitter of the action units; 1 as in photographs.
        units: action units by number that every face has at this strength, 0 to 1, in place of what its emotion gives.
        first: number of the first face: ``draw_faces(2, first=5)`` are faces 5 and 6.

    Raises:
        UserError: a count, size, intensity, distribution or action unit that cannot be drawn.
    """
    count, seed, size, first = whole("count", count), whole("seed", seed), whole("size", size), whole("first", first)
    variation = real("variation", variation)
    if not 0 <= count <= MAX_COUNT:
        raise UserError(f"count of drawn faces must lie between 0 and {MAX_COUNT}, got {count}")
    if not MIN_SIZE <= size <= MAX_SIZE:
        raise UserError(f"size of drawn faces must lie between {MIN_SIZE} and {MAX_SIZE} pixels, got {size}")
    if not 0.0 <= variation <= 1.0:
        raise UserError(f"variation must lie between 0 and 1, got {variation}")
    index = np.arange(first, first + count, dtype=np.int64)
    asked = _distributions(distribution, index)
    strength = _intensities(intensity, seed, index)
    people = _identities(identities, seed, index)
    chance = uniforms(seed, index, _EXPRESSION_STREAM, count=action_units.NUM_UNIFORMS)
    moved = action_units.blend(asked, strength, chance, jitter=variation)
    for number, fixed in action_units.checked_action_units(units or {}).items():
        moved[:, action_units.AU_COLUMN[number]] = fixed
    traits, view = sample_traits(people), sample_views(seed, index, variation)
    geometry = shape_face(traits, moved)
    images = render(traits, view, geometry, size)
    shown = strength[:, None] * asked
    shown[:, -1] += 1.0 - strength
    points = landmarks(traits, view, geometry, size)
    return DrawnFaces(images, shown, moved, asked.argmax(axis=1).astype(np.int8), people, strength, points)


def _distributions(given: ArrayLike | Mapping[Any, float] | None, index: NDArray[np.int64]) -> NDArray[np.float32]:
    if given is None:
        return np.eye(NUM_EMOTIONS, dtype=np.float32)[index % NUM_EMOTIONS]
    asked: Any = given
    if isinstance(given, str | Emotion | Mapping):
        asked = as_distribution(given, "distribution")
    elif isinstance(given, list | tuple):
        asked = [as_distribution(each, "distribution") if isinstance(each, str | Emotion | Mapping) else each for each in given]
    rows = _floats("distribution", asked)
    if rows.shape not in ((NUM_EMOTIONS,), (len(index), NUM_EMOTIONS)):
        raise UserError(f"distribution: need shape (7,) or ({len(index)}, 7), got {rows.shape}")
    if not np.isfinite(rows).all() or (rows < 0).any() or (np.abs(rows.sum(axis=-1) - 1) > 1e-3).any():
        raise UserError("distribution: each must be seven probabilities that sum to 1")
    return np.broadcast_to(rows, (len(index), NUM_EMOTIONS)).copy()


def _floats(name: str, given: Any) -> NDArray[np.float32]:
    try:
        return np.asarray(given, np.float32)
    except (TypeError, ValueError):
        refuse(name, "numbers, for all faces or one a face", given)


def _intensities(given: ArrayLike | None, seed: int, index: NDArray[np.int64]) -> NDArray[np.float32]:
    if given is None:
        chance = uniforms(seed, index, _INTENSITY_STREAM, count=1)[:, 0]
        return (WEAKEST + (STRONGEST - WEAKEST) * chance).astype(np.float32)
    values = _floats("intensity", given)
    if values.shape not in ((), (len(index),)):
        raise UserError(f"intensity: need one number or {len(index)} of them, got shape {values.shape}")
    if not np.isfinite(values).all() or (values < 0).any() or (values > 1).any():
        raise UserError("intensity must lie between 0 (neutral) and 1 (full)")
    return np.broadcast_to(values, (len(index),)).copy()


def _identities(given: ArrayLike | None, seed: int, index: NDArray[np.int64]) -> NDArray[np.int64]:
    if given is None:
        return (hash64(seed, index, _IDENTITY_STREAM) >> np.uint64(24)).astype(np.int64)
    try:
        people = np.asarray(given, np.int64)
    except (TypeError, ValueError):
        refuse("identities", f"{len(index)} integers", given)
    if people.shape != (len(index),):
        raise UserError(f"identities: need {len(index)} integers, got shape {people.shape}")
    return people


def drawn_set(split: Literal["train", "valid", "test"], count: int, *, seed: int = 0, size: int = 48) -> FaceSet:
    """``count`` drawn faces as a data set: the emotions in equal parts, nobody in two splits.

    Raises UserError: an unknown split, or a count or size that cannot be drawn.
    """
    from encoder.data.face_set import FaceSet

    if split not in _SPLIT_BASE:
        raise UserError(f"unknown split {split!r}: the splits are {', '.join(_SPLIT_BASE)}")
    base = _SPLIT_BASE[split]
    people = base + (hash64(seed, np.arange(max(count, 0)), _IDENTITY_STREAM) >> np.uint64(25)).astype(np.int64)
    in_turn = np.eye(NUM_EMOTIONS, dtype=np.float32)[np.arange(max(count, 0)) % NUM_EMOTIONS]
    faces = draw_faces(count, seed=seed, size=size, distribution=in_turn, identities=people, first=base)
    return FaceSet(
        images=faces.images,
        labels=faces.labels,
        votes=np.zeros((count, 8), np.float32),
        ids=tuple(f"drawn-{split}-{number:07d}" for number in range(count)),
        source="drawn",
        identities=np.array([str(person) for person in faces.identity], object),
        landmarks=faces.landmarks,
    )


def load_or_draw(data: str, split: str, count: int, *, size: int, on_error: OnError = "refuse") -> FaceSet:
    """A split of the data set at ``data``, see :func:`encoder.data.load.load_faces`; of ``drawn`` so many drawn faces."""
    from encoder.data.load import load_faces

    if data == "drawn":
        return drawn_set(split, count, size=size)  # type: ignore[arg-type]
    return load_faces(Path(data).expanduser(), split, on_error=on_error, size=size)  # type: ignore[arg-type]
