"""Sets of faces put together: by one scheme of labels, joined, with copies, in the proportions of another set."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal

import numpy as np
import numpy.typing as npt

from configs.cli import UserError
from encoder.data.face_set import FaceSet
from encoder.emotions import FERPLUS_NAMES, NUM_EMOTIONS
from eval.faces.generated import GeneratedSet

Scheme = Literal["fer2013", "ferplus"]
SCHEMES: dict[Scheme, str] = {"fer2013": "FER-2013 labels", "ferplus": "FER+ majority"}


def scheme_labels(faces: FaceSet, scheme: Scheme) -> npt.NDArray[np.int64]:
    """(N,) classes of the seven by FER-2013's label or by the FER+ majority; -1 where there is none, or contempt."""
    if scheme == "fer2013":
        return faces.labels.astype(np.int64)
    majority = faces.majority().astype(np.int64)
    return np.where(majority < NUM_EMOTIONS, majority, -1)


def labelled(faces: FaceSet, scheme: Scheme) -> FaceSet:
    """The faces with a label in ``scheme``, as hard labels of the seven; votes are left out.

    Raises:
        UserError: there is none.
    """
    labels = scheme_labels(faces, scheme)
    kept = faces.subset(labels >= 0)
    if not len(kept):
        raise UserError(f"{faces.source}: no face has a label by {SCHEMES[scheme]}")
    return plain(kept, labels[labels >= 0])


def plain(faces: FaceSet, labels: npt.NDArray[np.integer]) -> FaceSet:
    """The same pictures with these labels and nothing else that people said of them."""
    votes = np.zeros((len(faces), len(FERPLUS_NAMES)), np.float32)
    return dataclasses.replace(faces, labels=labels.astype(np.int8), votes=votes, vote_counts=None, identities=None, genders=None)


def from_generated(made: GeneratedSet) -> FaceSet:
    votes = np.zeros((len(made.labels), len(FERPLUS_NAMES)), np.float32)
    return FaceSet(made.images, made.labels.astype(np.int8), votes, made.names, "generated")


def joined(*sets: FaceSet) -> FaceSet:
    """The sets one after the other; only pictures, labels and names."""
    parts = [plain(each, each.labels) for each in sets]
    images, labels, votes = (np.concatenate([getattr(part, name) for part in parts]) for name in ("images", "labels", "votes"))
    return FaceSet(images, labels, votes, tuple(name for part in parts for name in part.ids), parts[0].source)


def oversampled(faces: FaceSet, counts: Mapping[int, int], *, seed: int = 0) -> FaceSet:
    """``faces`` with copies, so that each class in ``counts`` has that many faces (never fewer than it has)."""
    rng = np.random.default_rng(seed)
    extra = []
    for label, count in counts.items():
        rows = np.flatnonzero(faces.labels == label)
        if len(rows) and count > len(rows):
            order = np.concatenate([rng.permutation(rows) for _ in range(-(-count // len(rows)))])
            extra.append(order[: count - len(rows)])
    return faces.subset(np.concatenate([np.arange(len(faces)), *extra]))


def same_mix(labels: npt.NDArray[np.integer], wanted: npt.NDArray[np.integer], *, seed: int = 0) -> npt.NDArray[np.intp]:
    """Rows of ``labels`` (N,) that hold the classes in the proportions of ``wanted`` (M,), as many as there can be.

    Faces of a class are taken by chance, without replacement; unknown classes (-1) are never taken.
    """
    rng = np.random.default_rng(seed)
    classes, counts = np.unique(wanted[wanted >= 0], return_counts=True)
    shares = counts / counts.sum()
    there = [rng.permutation(np.flatnonzero(labels == k)) for k in classes]
    total = min(len(rows) / share for rows, share in zip(there, shares, strict=True))
    taken = [rows[: int(np.floor(total * share + 1e-9))] for rows, share in zip(there, shares, strict=True)]
    return np.sort(np.concatenate(taken))
