"""Figures of a classifier, as pure NumPy functions of labels and probabilities.

Conventions: ``labels`` (N,) int class indices; ``probabilities`` (N, C) rows that sum to one; the prediction is the
arg max. Confusion matrices have true classes in rows. A class without samples has recall ``nan`` and is left out of
means.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Labels = npt.NDArray[np.integer]


def confusion_matrix(labels: Labels, predictions: Labels, classes: int) -> npt.NDArray[np.int64]:
    """(C, C) counts: row true class, column predicted class."""
    flat = np.bincount(labels.astype(np.int64) * classes + predictions, minlength=classes * classes)
    return flat.reshape(classes, classes)


def accuracy(confusion: npt.NDArray[np.int64]) -> float:
    """Share of samples on the diagonal."""
    return float(np.trace(confusion) / confusion.sum())


def recall(confusion: npt.NDArray[np.int64]) -> Array:
    """(C,) share of each true class that is found; ``nan`` where a class has no samples."""
    support = confusion.sum(axis=1)
    return np.divide(np.diag(confusion), support, out=np.full(len(support), np.nan), where=support > 0)


def precision(confusion: npt.NDArray[np.int64]) -> Array:
    """(C,) share of each predicted class that is right; 0 where a class is never predicted."""
    predicted = confusion.sum(axis=0)
    return np.divide(np.diag(confusion), predicted, out=np.zeros(len(predicted)), where=predicted > 0)


def f1(confusion: npt.NDArray[np.int64]) -> Array:
    """(C,) harmonic mean of precision and recall; ``nan`` where a class has no samples."""
    total = confusion.sum(axis=1) + confusion.sum(axis=0)
    score = np.divide(2.0 * np.diag(confusion), total, out=np.zeros(len(total)), where=total > 0)
    return np.where(confusion.sum(axis=1) > 0, score, np.nan)


def balanced_accuracy(confusion: npt.NDArray[np.int64]) -> float:
    """Mean recall over the classes that occur."""
    return float(np.nanmean(recall(confusion)))


def macro_f1(confusion: npt.NDArray[np.int64]) -> float:
    """Mean F1 over the classes that occur."""
    return float(np.nanmean(f1(confusion)))


def negative_log_likelihood(labels: Labels, probabilities: Array) -> float:
    """Mean of ``-log p(true class)``, natural logarithm."""
    chosen = probabilities[np.arange(len(labels)), labels]
    return float(-np.log(np.clip(chosen, 1e-12, None)).mean())


def expected_calibration_error(labels: Labels, probabilities: Array, bins: int = 15) -> float:
    """Mean gap between confidence and accuracy over equal-width confidence bins (Guo et al., 2017, eq. 3)."""
    confidence = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == labels
    index = np.minimum((confidence * bins).astype(int), bins - 1)
    counts = np.bincount(index, minlength=bins)
    gaps = np.abs(np.bincount(index, confidence - correct, minlength=bins))
    return float(gaps[counts > 0].sum() / len(labels))


def wilson_interval(successes: int, trials: int, z: float = 1.959964) -> tuple[float, float]:
    """95 % interval of a proportion (Wilson, 1927): valid for few trials and for 0 or all successes."""
    if trials == 0:
        return 0.0, 1.0
    share = successes / trials
    centre = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z * np.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials)) / (1 + z * z / trials)
    return float(max(0.0, centre - half)), float(min(1.0, centre + half))
