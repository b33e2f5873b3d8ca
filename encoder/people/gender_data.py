"""Faces with recorded gender, cropped tight and drawn evenly."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from configs.cli import UserError
from encoder.data.face_set import FaceSet, Split
from encoder.data.load import load_faces128
from encoder.people.gender import GENDERS

# Share of width and height that is left in the tight crop of evaluation, about that of FER-2013.
TIGHT = 0.8


def load_gendered(path: str | Path, split: Split, *, seed: int = 0, size: int = 64) -> FaceSet:
    """The faces of one split of faces128 whose person is named and whose gender is recorded.

    A face that names nobody is left out: its person could stand in another split. Raises UserError: as
    :func:`encoder.data.load.load_faces128`; no such face.
    """
    faces = load_faces128(path, split, seed=seed, size=size)
    if faces.identities is None or faces.genders is None:
        raise UserError(f"{path}: split {split} names no person or no gender; faces128 does both")
    faces = faces.subset((faces.identities != "") & np.isin(faces.genders, GENDERS))
    if len(set(gender_labels(faces))) < len(GENDERS):
        raise UserError(f"{path}: split {split} does not hold faces of both {' and '.join(GENDERS)}")
    return faces


def gender_labels(faces: FaceSet) -> np.ndarray:
    """(N,) int64 index into ``GENDERS``; every face must have one, as those of :func:`load_gendered` do."""
    return np.array([GENDERS.index(gender) for gender in np.asarray(faces.genders)], np.int64)


def count_people(faces: FaceSet) -> int:
    """Number of persons in the set."""
    return 0 if faces.identities is None else len(set(faces.identities))


def sampling_weights(faces: FaceSet) -> np.ndarray:
    """(N,) float64 by which both genders are drawn equally often, and a person of n faces sqrt(n) times as one of one.

    Without the second, one politician with 500 faces would weigh as much as 500 other people.
    """
    _, person, count = np.unique(np.asarray(faces.identities, str), return_inverse=True, return_counts=True)
    weights = 1.0 / np.sqrt(count[person])
    labels = gender_labels(faces)
    return weights / np.bincount(labels, weights=weights, minlength=len(GENDERS))[labels]


def tight_crop(images: np.ndarray, share: float = TIGHT) -> np.ndarray:
    """The central ``share`` of the width and height of (N, S, S) faces."""
    size = images.shape[-1]
    edge = round(size * (1 - share) / 2)
    return images[:, edge : size - edge, edge : size - edge]
