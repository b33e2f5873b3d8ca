"""How often a reader gives generated faces the emotion asked for, relative to how often it is right about real ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from encoder.emotions import EMOTION_NAMES, NUM_EMOTIONS
from encoder.evaluation.metrics import balanced_accuracy, confusion_matrix, recall, wilson_interval

Confusion = npt.NDArray[np.int64]


def reading(labels: npt.NDArray[np.integer], predictions: npt.NDArray[np.integer]) -> Confusion:
    """(7, 7) counts of faces: asked or labelled in rows, read in columns; faces without a label are left out."""
    known = labels >= 0
    return confusion_matrix(labels[known], predictions[known].astype(np.int64), NUM_EMOTIONS)


def wilson(hits: int, faces: int) -> list[float]:
    """Wilson's 95 % interval of a share, rounded."""
    return [round(end, 4) for end in wilson_interval(hits, faces)]


def resampled_balanced_accuracy(confusion: Confusion, rounds: int, seed: int) -> npt.NDArray[np.float64]:
    """(rounds,) bootstrap values of the mean recall; faces are drawn anew within each class that has any."""
    rng = np.random.default_rng(seed)
    supports = [(row, support) for row, support in enumerate(confusion.sum(axis=1)) if support]
    return np.mean([rng.binomial(n, confusion[row, row] / n, rounds) / n for row, n in supports], axis=0)


def summary(confusion: Confusion, *, rounds: int = 1000, seed: int = 0) -> dict[str, Any]:
    """Mean recall with its bootstrap interval, recall by emotion with Wilson's, and the counts."""
    support, recalls = confusion.sum(axis=1), recall(confusion)
    low, high = np.percentile(resampled_balanced_accuracy(confusion, rounds, seed), [2.5, 97.5])
    return {
        "faces": int(confusion.sum()),
        "balanced_accuracy": round(balanced_accuracy(confusion), 4),
        "interval": [round(float(low), 4), round(float(high), 4)],
        "recall": {
            name: {
                "faces": int(support[k]),
                "value": round(float(recalls[k]), 4) if support[k] else None,
                "interval": wilson(int(confusion[k, k]), int(support[k])),
            }
            for k, name in enumerate(EMOTION_NAMES)
        },
        "confusion": confusion.tolist(),
    }


def relative(made: Confusion, real: Confusion, *, rounds: int = 1000, seed: int = 0) -> dict[str, Any]:
    """Mean recall on made faces as a multiple of that on real ones, over the emotions that both have.

    Above 1 the made faces are easier to read than real ones: purer, or fitted to readers like this one.
    """
    both = (made.sum(axis=1) > 0) & (real.sum(axis=1) > 0)
    one, two = made * both[:, None], real * both[:, None]
    base = balanced_accuracy(two)
    ratios = resampled_balanced_accuracy(one, rounds, seed) / np.maximum(resampled_balanced_accuracy(two, rounds, seed + 1), 1e-9)
    low, high = np.percentile(ratios, [2.5, 97.5])
    return {
        "value": round(balanced_accuracy(one) / base, 4) if base else None,
        "interval": [round(float(low), 4), round(float(high), 4)] if base else None,
    }
