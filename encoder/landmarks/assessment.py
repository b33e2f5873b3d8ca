"""Figures of a model on landmarks, from the same functions as those of the networks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from configs.cli import UserError
from encoder.data.face_set import FaceSet
from encoder.emotions import EMOTION_NAMES
from encoder.evaluation.assessment import assess_readings
from encoder.evaluation.readings import HeadReading, in_order
from encoder.landmarks.classifier import HEAD, LandmarkClassifier
from encoder.landmarks.finding import with_landmarks
from encoder.landmarks.fit import landmark_cache


def assess_landmarks(
    model: LandmarkClassifier, faces: FaceSet, twin: NDArray[np.bool_], folder: Path, *, split: str, weights: str
) -> dict[str, Any]:
    """Figures as of the networks; ``folder`` holds the weights, and found landmarks are kept beside its run.

    Raises UserError: no face has a label, or landmarks cannot be found.
    """
    order = in_order(faces)
    order = order[faces.labels[order] >= 0]
    if not len(order):
        raise UserError(f"{faces.source}: no face has a label that this model predicts ({HEAD})")
    cache = landmark_cache(folder.resolve().parent) if folder.name == "weights" else None
    ordered, twin = with_landmarks(faces, cache).subset(order), twin[order]
    probabilities = model.probabilities(ordered.landmarks)  # type: ignore[arg-type]
    reading = HeadReading(ordered.labels.astype(np.int64), probabilities, EMOTION_NAMES)
    report = assess_readings({HEAD: reading}, twin, data=faces.source, split=split, weights=weights)
    return report | {"test_time": "one reading of the landmarks"}
