"""What training may do about lopsided classes: how often a face is drawn, and what the loss is told of class frequencies."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from configs.cli import UserError
from encoder.data.face_set import FaceSet
from encoder.emotions import NUM_EMOTIONS

_EXPONENTS = {"square_root": 0.5, "balanced": 1.0}


def sampling_weights(faces: FaceSet, sampling: Literal["instance", "square_root", "balanced"]) -> NDArray[np.float64] | None:
    """(N,) relative frequency with which each face is drawn; None: every face once an epoch.

    ``balanced`` draws every FER-2013 class equally often, ``square_root`` goes half of the way (Kang et al., 2020). A face
    without a label is drawn as often as the average face that has one. Raises UserError: a rebalanced draw from faces none of
    which has a label.
    """
    if sampling == "instance":
        return None
    known = faces.labels >= 0
    if not known.any():
        raise UserError(f"train.sampling: {sampling} needs labels, and no face of {faces.source} has one; use instance")
    counts = np.bincount(faces.labels[known], minlength=NUM_EMOTIONS)
    per_class = np.maximum(counts, 1) ** -_EXPONENTS[sampling]
    weights = np.where(known, per_class[np.where(known, faces.labels, 0)], 0.0)
    weights[~known] = weights[known].mean()
    return weights


def class_frequencies(faces: FaceSet, head: str) -> NDArray[np.float64]:
    """(classes,) positive frequencies in the label scheme of ``head``, summing to 1; one is added to every count."""
    if head == "ferplus":
        counts = faces.votes.sum(axis=0).astype(np.float64)
    else:
        counts = np.bincount(faces.labels[faces.labels >= 0], minlength=NUM_EMOTIONS).astype(np.float64)
    return (counts + 1.0) / (counts + 1.0).sum()
