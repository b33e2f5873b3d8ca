"""Real faces: FER-2013 in a folder, or faces that the project draws in their place."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from encoder.data.face_set import SPLITS, FaceSet, Split
from encoder.data.load import load_faces
from encoder.drawing.faces import drawn_set

DRAWN = "drawn"


def load_real(data: str, split: Split, size: int, *, drawn: int = 2000) -> FaceSet:
    """One split at ``size`` pixels.

    Faces that are compared must have one size: a reader enlarges small ones in its own way, which alone moves its features.

    Args:
        data: a folder with FER-2013, or ``"drawn"``. drawn: how many faces are drawn then.

    Raises:
        UserError: there are no such faces.
    """
    if data == DRAWN:
        return drawn_set(split, drawn, size=size)
    return load_faces(Path(data).expanduser(), split, size=size)


def load_splits(data: str, size: int) -> dict[Split, FaceSet]:
    """Train, valid and test at ``size`` pixels."""
    return {split: load_real(data, split, size) for split in SPLITS}


def data_name(data: str) -> str:
    """What the faces are called in results: never the folder."""
    return data if data == DRAWN else "fer2013"


def thinned(splits: Mapping[Split, FaceSet], count: int) -> dict[Split, FaceSet]:
    """At most ``count`` faces of valid and test and eight times as many of train, spread evenly over each split."""

    def thin(faces: FaceSet, most: int) -> FaceSet:
        return faces.subset(np.unique(np.linspace(0, len(faces) - 1, min(most, len(faces))).astype(int)))

    return {split: thin(faces, 8 * count if split == "train" else count) for split, faces in splits.items()}
