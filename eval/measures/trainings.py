"""Figures of trained networks with intervals over test faces and trainings, and how two of them compare."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from encoder.emotions import EMOTION_NAMES, NUM_EMOTIONS
from encoder.evaluation.metrics import accuracy, confusion_matrix, macro_f1, recall

Labels = npt.NDArray[np.int64]
ROUNDS = 1000
FIGURES = ("accuracy", "balanced_accuracy", "macro_f1", *(f"recall_{name}" for name in EMOTION_NAMES))


def figures_of(labels: Labels, predictions: Sequence[Labels], *, rounds: int = ROUNDS, seed: int = 0) -> dict[str, Any]:
    """Mean over trainings of every figure of ``FIGURES``, each with its bootstrap interval and the single values.

    Args:
        labels: (N,) classes; faces with -1 are left out.
        predictions: one (N,) array a training seed.
    """
    single = _singles(labels, predictions)
    found = _with_intervals(single.mean(axis=0), resampled(labels, predictions, rounds=rounds, seed=seed))
    for position, name in enumerate(FIGURES):
        found[name]["by_seed"] = [_rounded(value) for value in single[:, position]]
    return found


def compared(
    labels: Labels, one: Sequence[Labels], two: Sequence[Labels], *, ratio: bool = False, rounds: int = ROUNDS, seed: int = 0
) -> dict[str, Any]:
    """Every figure of ``one`` minus (or divided by) that of ``two``, over the same resampled test faces."""
    # The difference is that of the rounded figures, as a reader of both finds it.
    single = (np.round(_singles(labels, found).mean(axis=0), 4) for found in (one, two))
    samples = (resampled(labels, found, rounds=rounds, seed=seed) for found in (one, two))
    how = np.divide if ratio else np.subtract
    with np.errstate(divide="ignore", invalid="ignore"):
        return _with_intervals(how(*single), how(*samples))


def resampled(labels: Labels, predictions: Sequence[Labels], *, rounds: int, seed: int) -> npt.NDArray[np.float64]:
    """(rounds, figures) values of the mean over trainings, test faces and trainings drawn anew in every round.

    The faces drawn depend on ``seed`` and the number of labels alone, so that two rows can be compared pair by pair.
    """
    known = labels >= 0
    count = int(known.sum())
    codes = [labels[known] * NUM_EMOTIONS + found[known] for found in predictions]
    faces, trainings = np.random.default_rng((seed, 0)), np.random.default_rng((seed, 1, len(codes)))
    values = np.empty((rounds, len(FIGURES)))
    for number in range(rounds):
        index = faces.integers(0, count, count)
        chosen = trainings.integers(0, len(codes), len(codes))
        tables = (np.bincount(codes[k][index], minlength=NUM_EMOTIONS**2).reshape(NUM_EMOTIONS, NUM_EMOTIONS) for k in chosen)
        values[number] = np.mean([_all_figures(table) for table in tables], axis=0)
    return values


def _singles(labels: Labels, predictions: Sequence[Labels]) -> npt.NDArray[np.float64]:
    """(trainings, figures)."""
    known = labels >= 0
    return np.array([_all_figures(confusion_matrix(labels[known], found[known], NUM_EMOTIONS)) for found in predictions])


def _all_figures(table: npt.NDArray[np.int64]) -> list[float]:
    """The figures of ``FIGURES`` of one (7, 7) confusion matrix."""
    recalls = recall(table)
    return [accuracy(table), float(np.nanmean(recalls)), macro_f1(table), *(float(value) for value in recalls)]


def _with_intervals(values: npt.NDArray[np.float64], samples: npt.NDArray[np.float64]) -> dict[str, Any]:
    """Per figure its value and 95 % percentile interval; None for what is no number."""
    found: dict[str, Any] = {}
    for name, value, column in zip(FIGURES, values, samples.T, strict=True):
        there = column[np.isfinite(column)]
        ends = np.percentile(there, [2.5, 97.5]) if len(there) and np.isfinite(value) else (np.nan, np.nan)
        found[name] = {"value": _rounded(value), "interval": [_rounded(end) for end in ends]}
    return found


def _rounded(value: float) -> float | None:
    return round(float(value), 4) if np.isfinite(value) else None
