"""Do people see in faces what was asked for, and do they agree with each other? Pure functions of counts.

Conventions: ``counts`` is (K, C), faces or stimulus classes by answers; answers from K on (``other``) are never right.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def hit_rates(counts: npt.NDArray[np.number]) -> Array:
    """(K,) share of the answers to each class that name it; ``nan`` where it was never shown.

    Args:
        counts: (K, C) answers by class shown and answer given, C at least K; the first K answers are the classes.
    """
    shown = counts.sum(axis=1).astype(np.float64)
    return np.divide(counts.diagonal(), shown, out=np.full(len(counts), np.nan), where=shown > 0)


def unbiased_hit_rates(counts: npt.NDArray[np.number]) -> Array:
    """(K,) Hu: hit rate times the share of right ones among the answers of that name (Wagner, 1993).

    1: always named, and nothing else is named so. Who answers one thing to everything has a hit rate of 1 there and a low Hu. 0
    where the answer was never given, ``nan`` where the class was never shown.
    """
    named = counts.sum(axis=0)[: len(counts)].astype(np.float64)
    right = np.divide(counts.diagonal(), named, out=np.zeros(len(counts)), where=named > 0)
    return hit_rates(counts) * right


def chance_hit_rates(counts: npt.NDArray[np.number]) -> Array:
    """(K,) Hu that is expected when answers do not depend on what is shown: the product of both shares (Wagner, 1993)."""
    total = float(counts.sum())
    shown, named = counts.sum(axis=1), counts.sum(axis=0)[: len(counts)]
    return shown * named / total**2 if total else np.full(len(counts), np.nan)


def fleiss_kappa(counts: npt.NDArray[np.number]) -> float:
    """Agreement of raters beyond chance (Fleiss, 1971): 1 full, 0 as by chance, below 0 less.

    Args:
        counts: (N, C) ratings of each face by answer. Faces with fewer than two ratings say nothing and are left out. Where the
            faces have different numbers of ratings, the agreement of each face counts once, and each rating in the shares.

    Returns:
        ``nan`` where no face has two ratings, or all ratings are one answer.
    """
    ratings = counts.sum(axis=1)
    rated, number = counts[ratings >= 2].astype(np.float64), ratings[ratings >= 2].astype(np.float64)
    if not len(rated):
        return float("nan")
    agreement = (np.square(rated).sum(axis=1) - number) / (number * (number - 1))
    expected = float(np.square(rated.sum(axis=0) / rated.sum()).sum())
    return float("nan") if expected >= 1.0 else (float(agreement.mean()) - expected) / (1.0 - expected)


def fleiss_kappa_of(counts: npt.NDArray[np.number], answer: int) -> float:
    """The same of one answer against all others: what agreement there is on it (Fleiss, 1971)."""
    return fleiss_kappa(np.stack([counts[:, answer], counts.sum(axis=1) - counts[:, answer]], axis=1))


def two_way_bootstrap(
    statistics: Callable[[npt.NDArray[np.int64], npt.NDArray[np.int64]], Array],
    faces: int,
    raters: int,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[Array, Array]:
    """Ends of the 95 % percentile interval of figures over new faces and new raters: low (K,), high (K,).

    Both are resampled, independently (Owen, 2007): the interval is for other faces and other people, and rather too wide. With
    one rater it is for other faces only.

    Args:
        statistics: of (``faces``,) and (``raters``,) rows drawn with replacement the (K,) figures; ``nan`` is left out.
    """
    rng = np.random.default_rng(seed)
    values = np.stack([statistics(rng.integers(0, faces, faces), rng.integers(0, raters, raters)) for _ in range(resamples)])
    known = np.isfinite(values).any(axis=0)
    low, high = np.full(values.shape[1], np.nan), np.full(values.shape[1], np.nan)
    if known.any():
        low[known], high[known] = np.nanpercentile(values[:, known], (2.5, 97.5), axis=0)
    return low, high
