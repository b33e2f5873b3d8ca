"""How far a set of made faces is from real ones, beside how far two sets of real ones are, all with intervals.

Resampling with replacement puts copies into a set, and copies would pass for closeness. So every figure here is a function
of how often each face was drawn, and pairs of a face with itself never count. The interval of a figure is 1.96 bootstrap
standard errors to either side: the percentiles of a distance that copies push upwards would miss the distance itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from eval.measures.distances import NEIGHBOURS, Array, Features, frechet_distance, kernel, mean_of_pairs, within_reach

Z = 1.959964
# What a figure can be at all; the unbiased kernel distance may be negative.
_RANGES = {
    "kernel_distance": (-np.inf, np.inf),
    "frechet_distance": (0.0, np.inf),
    "density": (0.0, np.inf),
    "coverage": (0.0, 1.0),
}


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval; without one (None) where there are too few faces."""

    value: float
    low: float | None
    high: float | None

    def as_dict(self) -> dict[str, float | None]:
        """Rounded, for JSON and for the page."""
        return {name: None if x is None else round(float(x), 6) for name, x in vars(self).items()}


@dataclass(frozen=True)
class Comparison:
    """One distance: of the made set, of the floor (real against real), and the first as a multiple of the second.

    ``multiple`` is None where the floor is not clearly above zero: a multiple of nothing means nothing.
    """

    made: Estimate
    floor: Estimate
    multiple: Estimate | None


def compare_sets(
    real: Features, made: Features, floor: Features, *, rounds: int = 200, seed: int = 0, frechet: bool = True
) -> dict[str, Comparison]:
    """Kernel and Fréchet distance, density and coverage of ``made`` and of ``floor`` against ``real``.

    Args:
        real: (N, D) features of held-out real faces, N > 5.
        made: (M, D) features of generated faces.
        floor: (M, D) features of other real faces, as many as made: Fréchet distance and coverage depend on the number.
        rounds: bootstrap resamples of all three sets.
        frechet: whether there are enough faces for a Fréchet distance (about twice as many as D).

    Raises:
        ValueError: too few faces, or not as many in ``floor`` as in ``made``.
    """
    if len(made) != len(floor):
        raise ValueError(f"{len(made)} made faces but a floor of {len(floor)}: the distances depend on the number")
    if len(real) <= NEIGHBOURS or len(made) < 2:
        raise ValueError(f"{len(real)} real and {len(made)} made faces are too few")
    rng, sets = np.random.default_rng(seed), (made, floor)
    draws = [tuple(_drawn(rng, len(part)) for part in (real, made, floor)) for _ in range(rounds)]
    everyone = tuple(np.ones(len(part)) for part in (real, made, floor))
    result = {}
    for name, figure in _figures(real, sets, frechet).items():
        values, *samples = ([figure(a, each, which) for which, each in enumerate(others)] for a, *others in (everyone, *draws))
        result[name] = _comparison(np.array(values), np.array(samples).reshape(-1, 2), _RANGES[name])
    return result


def _figures(real: Features, sets: tuple[Features, Features], frechet: bool) -> dict[str, Callable[[Array, Array, int], float]]:
    """Per name a function of how often each real face and each face of one of ``sets`` counts; matrices are made once."""
    within = kernel(real, real)
    kernels = [(kernel(each, each), kernel(real, each)) for each in sets]
    inside = [within_reach(real, each).astype(np.float64) for each in sets]

    def kernel_distance(a: Array, b: Array, which: int) -> float:
        own, across = kernels[which]
        return mean_of_pairs(within, a) + mean_of_pairs(own, b) - 2.0 * float(a @ across @ b) / (a.sum() * b.sum())

    def frechet_of(a: Array, b: Array, which: int) -> float:
        one, two = (np.repeat(part, times.astype(int), axis=0) for part, times in ((real, a), (sets[which], b)))
        return frechet_distance(one, two)

    figures: dict[str, Callable[[Array, Array, int], float]] = {
        "kernel_distance": kernel_distance,
        "frechet_distance": frechet_of,
        "density": lambda a, b, which: float(a @ inside[which] @ b / (NEIGHBOURS * b.sum())),
        "coverage": lambda a, b, which: float(a @ (inside[which] @ b > 0) / a.sum()),
    }
    return {name: figure for name, figure in figures.items() if frechet or name != "frechet_distance"}


def _drawn(rng: np.random.Generator, count: int) -> Array:
    """(count,) how often each face is drawn, ``count`` times with replacement."""
    return np.bincount(rng.integers(0, count, count), minlength=count).astype(np.float64)


def _comparison(values: Array, samples: Array, limits: tuple[float, float]) -> Comparison:
    made, floor = (_estimate(float(values[k]), samples[:, k], limits) for k in (0, 1))
    # A figure that cannot be negative has a floor above zero by its nature; an unbiased distance has to show it.
    clear = floor.value > 0 if limits[0] == 0 else floor.low is not None and floor.low > 0
    multiple = None
    if clear:
        # On the scale of logarithms a ratio and its inverse have the same interval.
        ratios = np.log(np.maximum(samples[:, 0], 1e-12) / np.maximum(samples[:, 1], 1e-12))
        ratio, spread = float(values[0] / values[1]), float(np.exp(Z * ratios[~np.isnan(ratios)].std(ddof=1)))
        multiple = Estimate(ratio, ratio / spread, ratio * spread) if ratio > 0 else Estimate(ratio, None, None)
    return Comparison(made, floor, multiple)


def _estimate(value: float, samples: Array, limits: tuple[float, float] = (-np.inf, np.inf)) -> Estimate:
    samples = samples[~np.isnan(samples)]
    if len(samples) < 2:
        return Estimate(value, None, None)
    half = Z * float(samples.std(ddof=1))
    return Estimate(value, max(value - half, limits[0]), min(value + half, limits[1]))


def diversity(features: Features, *, rounds: int = 200, seed: int = 0) -> Estimate:
    """Mean distance over all pairs of one set of (N, D) features: how unlike each other its faces are."""
    from scipy.spatial.distance import pdist, squareform

    distances, rng = squareform(pdist(features.astype(np.float64))), np.random.default_rng(seed)
    samples = np.array([mean_of_pairs(distances, _drawn(rng, len(features))) for _ in range(rounds)])
    return _estimate(mean_of_pairs(distances), samples)


def as_dicts(comparisons: Mapping[str, Comparison]) -> dict[str, dict[str, dict[str, float | None] | None]]:
    return {
        name: {part: estimate and estimate.as_dict() for part, estimate in vars(found).items()}
        for name, found in comparisons.items()
    }
