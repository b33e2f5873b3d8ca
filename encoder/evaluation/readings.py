"""What a network answers on labelled faces, head by head, with headline figures and intervals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from configs.cli import UserError
from encoder.config import HeadCalibration
from encoder.data.face_set import FaceSet, head_labels
from encoder.emotions import EMOTION_NAMES, FERPLUS_NAMES
from encoder.evaluation import metrics
from encoder.inference.calibration import calibrated_log_probabilities
from encoder.inference.emotion_encoder import EmotionEncoder
from encoder.inference.views import Views, averaged_logits

HEAD_TITLES = {"fer2013": "FER-2013 labels, 7 classes", "ferplus": "FER+ majority, 8 classes (official protocol)"}
HEADLINE = ("accuracy", "balanced_accuracy", "macro_f1", "expected_calibration_error", "negative_log_likelihood")
BOOTSTRAP = {"resamples": 1000, "seed": 0}


@dataclass(frozen=True)
class HeadReading:
    """What one head says of N labelled faces: ``labels`` (N,), -1 where unknown; ``probabilities`` (N, C); class names."""

    labels: npt.NDArray[np.int64]
    probabilities: npt.NDArray[np.float64]
    names: tuple[str, ...]

    def at(self, chosen: npt.NDArray[Any]) -> HeadReading:
        """The reading of the faces at ``chosen`` (indices or mask)."""
        return HeadReading(self.labels[chosen], self.probabilities[chosen], self.names)


def in_order(faces: FaceSet) -> npt.NDArray[np.int64]:
    """(N,) indices that sort the faces by name: then no figure, resampling included, depends on how a file lists them."""
    return np.array(sorted(range(len(faces)), key=faces.ids.__getitem__), dtype=np.int64)


def read_heads(encoder: EmotionEncoder, faces: FaceSet, views: Views = "mirror") -> dict[str, HeadReading]:
    """Calibrated probabilities of every head that has labelled faces here, logits averaged over the ``views``.

    Raises UserError: no head of the network has a label among these faces.
    """
    readings = {}
    read = averaged_logits(encoder, faces, views, encoder.preferred_batch) if len(faces) else {}
    for head, logits in read.items():
        labels = head_labels(faces, head)
        if (labels >= 0).any():
            probabilities = _probabilities(logits, encoder.calibration.heads.get(head, HeadCalibration()))
            readings[head] = HeadReading(labels, probabilities, FERPLUS_NAMES if head == "ferplus" else EMOTION_NAMES)
    if not readings:
        raise UserError(f"{faces.source}: no face has a label that this network predicts ({', '.join(encoder.net.config.heads)})")
    return readings


def headline(reading: HeadReading, index: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """The figures of ``HEADLINE``, in that order, of the faces at ``index``; all of them must have a label."""
    chosen = reading.at(index)
    table = metrics.confusion_matrix(chosen.labels, chosen.probabilities.argmax(axis=1), len(chosen.names))
    figures = (metrics.accuracy(table), metrics.balanced_accuracy(table), metrics.macro_f1(table))
    errors = (
        f(chosen.labels, chosen.probabilities) for f in (metrics.expected_calibration_error, metrics.negative_log_likelihood)
    )
    return np.array([*figures, *errors])


def _probabilities(logits: np.ndarray, calibration: HeadCalibration) -> np.ndarray:
    import torch

    return calibrated_log_probabilities(torch.from_numpy(logits), calibration).exp().numpy()


def with_intervals(
    figures: Callable[[npt.NDArray[np.int64]], npt.NDArray[np.float64]], count: int
) -> list[tuple[float | None, float | None, float | None]]:
    """Each of the figures of all ``count`` faces, and the ends of its 95 % interval over faces, rounded.

    The resamples are the same in every run. Where there is no such figure, it is None.
    """
    low, high = metrics.bootstrap(figures, count, **BOOTSTRAP)
    rows = np.stack([figures(np.arange(count)), low, high], axis=1)
    return [(rounded(value), rounded(start), rounded(end)) for value, start, end in rows]


def rounded(value: float) -> float | None:
    """To four digits; None for what is no number."""
    return None if np.isnan(value) else round(float(value), 4)


def paired_difference(other: HeadReading, first: HeadReading) -> dict[str, dict[str, float | None]]:
    """Figures of ``other`` minus those of ``first`` on the same N faces, with 95 % intervals over the same resamples."""
    known = first.labels >= 0
    a, b = other.at(known), first.at(known)
    found = with_intervals(lambda index: headline(a, index) - headline(b, index), int(known.sum()))
    return {name: dict(zip(("difference", "low", "high"), row, strict=True)) for name, row in zip(HEADLINE, found, strict=True)}
