"""Figures of a classifier, as pure NumPy functions of labels and probabilities.

Conventions: ``labels`` (N,) int class indices; ``probabilities`` (N, C) rows that sum to one; the prediction is the
arg max. Confusion matrices have true classes in rows. A class without samples has recall ``nan`` and is left out of
means.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

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


def specificity(confusion: npt.NDArray[np.int64]) -> Array:
    """(C,) share of the samples of other classes that are not given this one; ``nan`` where there are no others."""
    others = confusion.sum() - confusion.sum(axis=1)
    wrongly = confusion.sum(axis=0) - np.diag(confusion)
    return np.divide(others - wrongly, others, out=np.full(len(others), np.nan), where=others > 0)


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


def area_under_curve(positive: npt.NDArray[np.bool_], scores: Array) -> float:
    """Area under the ROC curve: the chance that a positive outscores a negative, equal scores counting half.

    Computed from mean ranks (Mann & Whitney, 1947); ``nan`` without positives or without negatives.
    """
    positives = int(positive.sum())
    negatives = len(positive) - positives
    if positives == 0 or negatives == 0:
        return float("nan")
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    mean_rank = np.cumsum(counts) - (counts - 1) / 2.0
    return float((mean_rank[place][positive].sum() - positives * (positives + 1) / 2.0) / (positives * negatives))


def one_vs_rest_auc(labels: Labels, probabilities: Array) -> Array:
    """(C,) area under the ROC curve of each class against all others."""
    return np.array([area_under_curve(labels == index, probabilities[:, index]) for index in range(probabilities.shape[1])])


class ReliabilityBins(NamedTuple):
    """Predictions by confidence, (B,) each: how many, how sure on average, how often right; ``nan`` in empty bins."""

    counts: npt.NDArray[np.int64]
    confidence: Array
    accuracy: Array


def reliability_bins(confidence: Array, correct: npt.NDArray[np.bool_], bins: int = 15) -> ReliabilityBins:
    """(N,) confidences in [0, 1] and hits, gathered in bins of equal width."""
    index = np.minimum((confidence * bins).astype(int), bins - 1)
    counts = np.bincount(index, minlength=bins)
    empty = np.full(bins, np.nan)
    sure = np.divide(np.bincount(index, confidence, minlength=bins), counts, out=empty.copy(), where=counts > 0)
    right = np.divide(np.bincount(index, correct, minlength=bins), counts, out=empty, where=counts > 0)
    return ReliabilityBins(counts, sure, right)


def calibration_error(bins: ReliabilityBins) -> float:
    """Mean gap between confidence and accuracy, each bin by its count (Guo et al., 2017, eq. 3)."""
    full = bins.counts > 0
    gaps = np.abs(bins.confidence[full] - bins.accuracy[full])
    return float((gaps * bins.counts[full]).sum() / bins.counts.sum())


def expected_calibration_error(labels: Labels, probabilities: Array, bins: int = 15) -> float:
    """:func:`calibration_error` of the arg max over ``bins`` bins of confidence."""
    correct = probabilities.argmax(axis=1) == labels
    return calibration_error(reliability_bins(probabilities.max(axis=1), correct, bins))


def wilson_interval(successes: float, trials: int, z: float = 1.959964) -> tuple[float, float]:
    """95 % interval of a proportion (Wilson, 1927): valid for few trials and for 0 or all successes."""
    if trials == 0:
        return 0.0, 1.0
    share = successes / trials
    centre = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z * np.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials)) / (1 + z * z / trials)
    return float(max(0.0, centre - half)), float(min(1.0, centre + half))


def bootstrap(
    statistics: Callable[[npt.NDArray[np.int64]], Array], count: int, *, resamples: int = 1000, seed: int = 0
) -> tuple[Array, Array]:
    """Ends of the 95 % percentile interval of each statistic over resampled samples (Efron, 1979): low (K,) and high (K,).

    ``statistics`` takes (``count``,) indices drawn with replacement and returns (K,) figures; ``nan`` is left out. For the
    difference of two classifiers let it apply the same indices to both: the pairs stay together.
    """
    rng = np.random.default_rng(seed)
    values = np.stack([statistics(rng.integers(0, count, count)) for _ in range(resamples)])
    low, high = np.nanpercentile(values, (2.5, 97.5), axis=0)
    return low, high
