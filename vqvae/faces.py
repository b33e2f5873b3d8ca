"""The faces that tokenizer and prior are trained on, with what is known of their emotion."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from configs.cli import UserError
from vqvae.config import VqvaeConfig

# Look of the faces, a condition of the prior: FER-2013's web crops, sharper aligned portraits, the project's drawings.
SOURCES: tuple[str, ...] = ("fer2013", "faces128", "drawn")


@dataclass(frozen=True)
class TrainingFaces:
    """Faces of one split: ``images`` (N, S, S) uint8; ``labels`` (N, 7) float32 distributions by people, rows of zeros
    where nobody was asked or the answer is not trusted; ``sources`` (N,) index into ``SOURCES``."""

    images: np.ndarray
    labels: np.ndarray
    sources: np.ndarray

    def __len__(self) -> int:
        return len(self.images)


def load_training_faces(config: VqvaeConfig, split: Literal["train", "valid", "test"]) -> TrainingFaces:
    """The faces that ``config.faces`` names, at the tokenizer's size.

    Raises:
        UserError: real faces are asked for but no folder is named, or a folder is not readable.
    """
    from encoder.datasets import load_faces, load_faces128

    faces, size = config.faces, config.tokenizer.size
    parts: list[TrainingFaces] = []
    if faces.source == "drawn":
        from encoder.drawn import drawn_set

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
    return TrainingFaces(
        np.concatenate([part.images for part in parts]),
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.sources for part in parts]),
    )


def _part(images: np.ndarray, labels: np.ndarray, source: str) -> TrainingFaces:
    return TrainingFaces(images, labels, np.full(len(images), SOURCES.index(source)))
