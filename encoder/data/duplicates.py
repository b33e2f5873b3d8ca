"""Pixel-identical faces inside a split and across splits: a test face seen in training flatters the score."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from encoder.data.face_set import FaceSet, Split


class DuplicateCount(NamedTuple):
    """``faces`` of ``split`` that have a pixel-identical twin in ``other`` (the same split: besides themselves).

    Of these, ``agreeing`` carry the same label as every one of their twins.
    """

    split: str
    other: str
    faces: int
    agreeing: int

    @property
    def differing(self) -> int:
        """Faces with a twin that carries another label."""
        return self.faces - self.agreeing


def count_duplicates(splits: Mapping[Split, FaceSet]) -> list[DuplicateCount]:
    """Duplicates for each ordered pair of splits, and within each split."""
    labels_of: dict[str, dict[bytes, list[int]]] = {}
    keys: dict[str, list[bytes]] = {}
    for split, faces in splits.items():
        keys[split] = pixel_keys(faces)
        groups: dict[bytes, list[int]] = defaultdict(list)
        for key, label in zip(keys[split], faces.labels.tolist(), strict=True):
            groups[key].append(label)
        labels_of[split] = dict(groups)
    result = []
    for split, faces in splits.items():
        for other, groups in labels_of.items():
            least = 2 if other == split else 1
            twins = [groups.get(key, []) for key in keys[split]]
            has = np.array([len(labels) >= least for labels in twins], bool)
            same = np.array([set(found) == {own} for found, own in zip(twins, faces.labels.tolist(), strict=True)], bool)
            result.append(DuplicateCount(split, other, int(has.sum()), int((has & same).sum())))
    return result


def pixel_keys(faces: FaceSet) -> list[bytes]:
    """A 128-bit digest of each face's pixels: equal for pixel-identical faces, and for no others in practice."""
    return [hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in faces.images]


def twins(a: FaceSet, b: FaceSet) -> NDArray[np.bool_]:
    """Which faces of ``a`` have a pixel-identical twin in ``b``: (len(a),) bool."""
    known = set(pixel_keys(b))
    return np.fromiter((key in known for key in pixel_keys(a)), bool, count=len(a))
