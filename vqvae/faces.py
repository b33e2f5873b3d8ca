"""The faces that tokenizer and prior are trained on, with what is known of their emotion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from configs.cli import UserError
from encoder.data.sharded_faces import VALID_MOST, ShardedFaces, open_shards
from engine.training.batches import GlobalBatches, uniforms
from vqvae.attributes import NOT_TOLD, AttributeName
from vqvae.config import VqvaeConfig
from vqvae.tokens.cache import array_sha256

# Look of the faces, a condition of the prior: FER-2013's web crops, sharper aligned portraits, the project's drawings, colour
# photographs. Earlier priors know the first three.
SOURCES: tuple[str, ...] = ("fer2013", "faces128", "drawn", "photo")


class Faces(Protocol):
    """Faces of one split that are read by number; they need not be in memory."""

    remote: bool
    """Whether reading goes through a network."""

    def __len__(self) -> int: ...

    def part(self, index: np.ndarray) -> TrainingFaces:
        """The faces at ``index``, with what is known of them."""
        ...

    def images_at(self, index: np.ndarray) -> np.ndarray:
        """(B, S, S) uint8."""
        ...

    def sources_at(self, index: np.ndarray) -> np.ndarray:
        """(B,) index into ``SOURCES``."""
        ...

    def digest(self) -> str:
        """Changes with any face or label."""
        ...


@dataclass(frozen=True)
class TrainingFaces:
    """Faces of one split in memory: ``images`` (N, S, S) uint8; ``labels`` (N, 7) float32 distributions by people, rows of
    zeros where nobody was asked or the answer is not trusted; ``sources`` (N,) index into ``SOURCES``; ``attributes`` (N,)
    int8 classes by name, ``NOT_TOLD`` where a face's is not known."""

    images: np.ndarray
    labels: np.ndarray
    sources: np.ndarray
    attributes: Mapping[AttributeName, np.ndarray] = field(default_factory=dict)
    remote = False

    def __len__(self) -> int:
        return len(self.images)

    def part(self, index: np.ndarray) -> TrainingFaces:
        attributes = {name: column[index] for name, column in self.attributes.items()}
        return TrainingFaces(self.images[index], self.labels[index], self.sources[index], attributes)

    def told(self, names: Sequence[AttributeName]) -> np.ndarray:
        """(N, A) int8: the attributes of these names."""
        unknown = np.full(len(self), NOT_TOLD, np.int8)
        return np.stack([self.attributes.get(name, unknown) for name in names], axis=1)

    def images_at(self, index: np.ndarray) -> np.ndarray:
        return self.images[index]

    def sources_at(self, index: np.ndarray) -> np.ndarray:
        return self.sources[index]

    def digest(self) -> str:
        return array_sha256(self.images, self.labels, *(self.attributes[name] for name in sorted(self.attributes)))


class TrainingShards:
    """Faces of one split that stay in their shards, all of one look."""

    def __init__(self, faces: ShardedFaces, look: str) -> None:
        self._faces, self._source = faces, SOURCES.index(look)
        self.remote = faces.remote

    def __len__(self) -> int:
        return len(self._faces)

    def part(self, index: np.ndarray) -> TrainingFaces:
        return TrainingFaces(self._faces.read(index), self._faces.emotions(index), self.sources_at(index))

    def images_at(self, index: np.ndarray) -> np.ndarray:
        return self._faces.read(index)

    def sources_at(self, index: np.ndarray) -> np.ndarray:
        return np.full(len(index), self._source)

    def digest(self) -> str:
        return self._faces.digest

    def spread(self, most: int = VALID_MOST) -> TrainingFaces:
        """At most so many of the faces, evenly from all over the shards, in memory."""
        return self.part(np.unique(np.linspace(0, len(self) - 1, min(len(self), most)).astype(np.int64)))


class FaceBatches:
    """``(images (B, S, S) uint8, random numbers (B, count))`` of a step; can be sent to another process."""

    def __init__(self, faces: Faces, batches: GlobalBatches, seed: int, count: int) -> None:
        self._faces, self._batches, self._seed, self._count = faces, batches, seed, count

    def __call__(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        epoch, index = self._batches(step)
        return self._faces.images_at(index), uniforms(self._seed, epoch, index, self._count)


def open_training_shards(config: VqvaeConfig, split: Literal["train", "valid"], cache: Path) -> TrainingShards:
    """The faces in the shards that ``config.faces`` names; their index is kept in ``cache``.

    Raises:
        UserError: no folder is named, or it is not readable.
    """
    faces = config.faces
    if faces.shards is None:
        raise UserError("faces.shards: name the folder or URL of the shards, e.g. faces.shards=shards/drawn")
    found = open_shards(
        faces.shards,
        split,
        size=config.tokenizer.size,
        cache=cache,
        skip=faces.on_error == "skip",
        block=faces.shuffle_block,
    )
    return TrainingShards(found, faces.look)


def load_training_faces(config: VqvaeConfig, split: Literal["train", "valid", "test"]) -> TrainingFaces:
    """The faces that ``config.faces`` names, at the tokenizer's size.

    Raises:
        UserError: real faces are asked for but no folder is named, or a folder is not readable.
    """
    from encoder.data.load import load_faces, load_faces128

    faces, size = config.faces, config.tokenizer.size
    parts: list[TrainingFaces] = []
    if faces.source == "drawn":
        from encoder.drawing.faces import drawn_set

        count = faces.drawn_count if split == "train" else max(faces.drawn_count // 10, 64)
        drawn = drawn_set(split, count, seed=config.seed, size=size)
        return _part(drawn.images, drawn.distributions(), "drawn")
    if faces.fer2013 is None and faces.faces128 is None:
        raise UserError("faces.fer2013: name the folder with FER-2013, e.g. faces.fer2013=~/fer2013 (or faces.source=drawn)")
    if faces.fer2013 is not None:
        fer = load_faces(Path(faces.fer2013).expanduser(), split, on_error=faces.on_error, size=size)
        parts.append(_part(fer.images, fer.distributions(), "fer2013"))
    if faces.faces128 is not None:
        sharp = load_faces128(Path(faces.faces128).expanduser(), split, size=size)
        # One rater and no votes: the encoder's reading is the better label.
        parts.append(_part(sharp.images, np.zeros((len(sharp), 7), np.float32), "faces128"))
    return joined(parts)


def joined(parts: Sequence[TrainingFaces]) -> TrainingFaces:
    """All faces of several sets, in their order."""
    names: list[AttributeName] = sorted({name for part in parts for name in part.attributes})
    told = [part.told(names) for part in parts] if names else []
    return TrainingFaces(
        np.concatenate([part.images for part in parts]),
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.sources for part in parts]),
        {name: np.concatenate([columns[:, place] for columns in told]) for place, name in enumerate(names)},
    )


def _part(images: np.ndarray, labels: np.ndarray, source: str) -> TrainingFaces:
    return TrainingFaces(images, labels, np.full(len(images), SOURCES.index(source)))
