"""How far a set of made faces is from real ones, beside how far two sets of real ones are, all with intervals.

Resampling with replacement puts copies into a set, and copies would pass for closeness. So every figure here is a function
of how often each face was drawn, and pairs of a face with itself never count. The interval of a figure is 1.96 bootstrap
standard errors to either side: the percentiles of a distance that copies push upwards would miss the distance itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from eval.measures.distances import Features, frechet_distance

Array = npt.NDArray[np.float64]
NEIGHBOURS = 5
Z = 1.959964


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
    rows = np.random.default_rng(seed)
    draws = [tuple(rows.integers(0, len(part), len(part)) for part in (real, made, floor)) for _ in range(rounds)]
    figures: dict[str, Callable[[npt.NDArray[np.intp], npt.NDArray[np.intp], int], float]] = {}
    kernels = _Kernels(real, (made, floor))
    insides = _Insides(real, (made, floor))
    figures["kernel_distance"] = kernels.distance
    if frechet:
        sets = (made, floor)
        figures["frechet_distance"] = lambda i, j, which: frechet_distance(real[i], sets[which][j])
    figures["density"] = insides.density
    figures["coverage"] = insides.coverage
    everyone = np.arange(len(real)), np.arange(len(made))
    result = {}
    for name, figure in figures.items():
        values = np.array([figure(*everyone, which) for which in (0, 1)])
        samples = np.array([[figure(i, j, 0), figure(i, k, 1)] for i, j, k in draws]).reshape(-1, 2)
        result[name] = _comparison(values, samples, _RANGES[name])
    return result


# What a figure can be at all; the unbiased kernel distance may be negative.
_RANGES = {
    "kernel_distance": (-np.inf, np.inf),
    "frechet_distance": (0.0, np.inf),
    "density": (0.0, np.inf),
    "coverage": (0.0, 1.0),
}


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


def _times(index: npt.NDArray[np.intp], count: int) -> Array:
    """(count,) how often each row was drawn."""
    return np.bincount(index, minlength=count).astype(np.float64)


def _mean_of_pairs(matrix: Array, times: Array) -> float:
    """Mean over pairs of different faces, each counted as often as it was drawn; ``nan`` where one face is all there is."""
    pairs = times.sum() ** 2 - np.square(times).sum()
    total = times @ matrix @ times - np.square(times) @ np.diag(matrix)
    return float(total / pairs) if pairs else float("nan")


class _Kernels:
    """Kernel matrices of a reference with itself and with others, computed once for all resamples."""

    def __init__(self, real: Features, others: tuple[Features, ...]) -> None:
        self._within = _kernel(real, real)
        self._others = [(_kernel(other, other), _kernel(real, other)) for other in others]

    def distance(self, i: npt.NDArray[np.intp], j: npt.NDArray[np.intp], which: int) -> float:
        within, across = self._others[which]
        a, b = _times(i, len(self._within)), _times(j, len(within))
        crossed = float(a @ across @ b) / (a.sum() * b.sum())
        return _mean_of_pairs(self._within, a) + _mean_of_pairs(within, b) - 2.0 * crossed


def _kernel(a: Features, b: Features) -> Array:
    """The kernel of :func:`eval.measures.distances.kernel_distance`."""
    return np.asarray((a.astype(np.float64) @ b.astype(np.float64).T / a.shape[1] + 1.0) ** 3)


class _Insides:
    """Which faces lie within reach of which real one's fifth real neighbour, computed once for all resamples."""

    def __init__(self, real: Features, others: tuple[Features, ...]) -> None:
        near = squared_distances(real, real)
        np.fill_diagonal(near, np.inf)
        reach = np.partition(near, NEIGHBOURS - 1, axis=1)[:, NEIGHBOURS - 1]
        self._inside = [(squared_distances(real, other) < reach[:, None]).astype(np.float64) for other in others]

    def density(self, i: npt.NDArray[np.intp], j: npt.NDArray[np.intp], which: int) -> float:
        inside = self._inside[which]
        return float(_times(i, len(inside)) @ inside @ _times(j, inside.shape[1]) / (NEIGHBOURS * len(j)))

    def coverage(self, i: npt.NDArray[np.intp], j: npt.NDArray[np.intp], which: int) -> float:
        inside = self._inside[which]
        return float(_times(i, len(inside)) @ (inside @ _times(j, inside.shape[1]) > 0) / len(i))


def squared_distances(a: Features, b: Features) -> Array:
    """(N, M) squared Euclidean distances of (N, D) to (M, D) features, in float64."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    squared = np.square(a).sum(axis=1)[:, None] + np.square(b).sum(axis=1)[None] - 2.0 * a @ b.T
    return np.asarray(squared.clip(min=0.0))


def diversity(features: Features, *, rounds: int = 200, seed: int = 0) -> Estimate:
    """Mean distance over all pairs of one set of (N, D) features: how unlike each other its faces are."""
    distances = np.sqrt(squared_distances(features, features))
    count, rows = len(features), np.random.default_rng(seed)
    samples = np.array([_mean_of_pairs(distances, _times(rows.integers(0, count, count), count)) for _ in range(rounds)])
    return _estimate(_mean_of_pairs(distances, np.ones(count)), samples)


def same_mix(labels: npt.NDArray[np.integer], wanted: npt.NDArray[np.integer], *, seed: int = 0) -> npt.NDArray[np.intp]:
    """Rows of ``labels`` (N,) that hold the classes in the proportions of ``wanted`` (M,), as many as there can be.

    Faces of a class are taken by chance, without replacement; unknown classes (-1) are never taken.
    """
    rng = np.random.default_rng(seed)
    classes, counts = np.unique(wanted[wanted >= 0], return_counts=True)
    shares = counts / counts.sum()
    there = [rng.permutation(np.flatnonzero(labels == k)) for k in classes]
    total = min(len(rows) / share for rows, share in zip(there, shares, strict=True))
    taken = [rows[: int(np.floor(total * share + 1e-9))] for rows, share in zip(there, shares, strict=True)]
    return np.sort(np.concatenate(taken))


def as_dicts(comparisons: Mapping[str, Comparison]) -> dict[str, dict[str, dict[str, float | None] | None]]:
    """Comparisons for JSON and for the page."""
    return {
        name: {
            "made": found.made.as_dict(),
            "floor": found.floor.as_dict(),
            "multiple": None if found.multiple is None else found.multiple.as_dict(),
        }
        for name, found in comparisons.items()
    }
