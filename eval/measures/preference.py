"""Which of two things people prefer, from paired comparisons. Pure functions of what was chosen.

Conventions: ``chosen`` is (R, P), raters by pairs: 0 the first, 1 the second, 0.5 a tie.
"""

from __future__ import annotations

from math import comb
from typing import Any

import numpy as np
import numpy.typing as npt

from encoder.evaluation.metrics import wilson_interval
from eval.measures.agreement import fleiss_kappa, two_way_bootstrap

Array = npt.NDArray[np.float64]


def sign_test(wins: int, losses: int) -> float:
    """Two-sided exact p value of a fair coin (sign test; Dixon and Mood, 1946). Ties say nothing and are left out before.

    1 where there is neither.
    """
    number = wins + losses
    tail = sum(comb(number, k) for k in range(min(wins, losses) + 1))
    return min(1.0, 2 * tail / 2**number)


def verdicts(chosen: Array) -> Array:
    """(P,) for which most raters chose each pair; 0.5 where neither had more."""
    return (np.sign((chosen - 0.5).sum(axis=0)) + 1.0) / 2.0


def preference(verdict: Array) -> dict[str, Any]:
    """Share of (P,) pairs that went to the second, ties counted half, with Wilson's 95 % interval, and the sign test.

    With ties the interval is rather too wide.
    """
    wins, losses = int((verdict == 1).sum()), int((verdict == 0).sum())
    low, high = wilson_interval(float(verdict.sum()), len(verdict))
    share = {"value": round(float(verdict.mean()), 4), "interval": [round(low, 4), round(high, 4)]}
    tied = len(verdict) - wins - losses
    return {"pairs": len(verdict), "chosen": wins, "tied": tied, "share": share, "p": sign_test(wins, losses)}


def agreed(chosen: Array) -> float:
    """How often two raters gave one pair the same answer: mean over pairs and pairs of raters; ``nan`` of one rater."""
    counts = _by_answer(chosen)
    raters = len(chosen)
    return float((np.square(counts).sum(axis=1) - raters).mean() / (raters * (raters - 1))) if raters > 1 else float("nan")


def preferences(chosen: Array, *, resamples: int = 1000, seed: int = 0) -> dict[str, Any]:
    """What several raters say together: share of all answers, over other pairs and other raters, and their agreement.

    Returns:
        ``share`` with its 95 % interval, ``agreed``, and Fleiss' ``kappa`` with its interval over other pairs.
    """
    raters, pairs = chosen.shape
    how: dict[str, int] = {"resamples": resamples, "seed": seed}
    ends = two_way_bootstrap(lambda rows, people: np.array([chosen[np.ix_(people, rows)].mean()]), pairs, raters, **how)
    counts = _by_answer(chosen)
    kappas = two_way_bootstrap(lambda rows, _: np.array([fleiss_kappa(counts[rows])]), pairs, 1, **how)
    return {
        "share": _figure(float(chosen.mean()), *ends),
        "agreed": round(agreed(chosen), 4),
        "kappa": _figure(fleiss_kappa(counts), *kappas),
    }


def _by_answer(chosen: Array) -> npt.NDArray[np.int64]:
    """(P, 3) how often each pair was answered how."""
    return np.stack([(chosen == answer).sum(axis=0) for answer in (0.0, 0.5, 1.0)], axis=1)


def _figure(value: float, low: Array, high: Array) -> dict[str, Any]:
    ends = (float(value), float(low[0]), float(high[0]))
    shown = [round(end, 4) if np.isfinite(end) else None for end in ends]
    return {"value": shown[0], "interval": shown[1:]}
