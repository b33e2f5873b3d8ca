"""Distances between sets of faces, as pure functions of their features.

Every function takes float arrays (N, D), one row a face, and works in float64. Which features is the caller's choice and
belongs beside every figure: distances in different feature spaces cannot be compared.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Features = npt.NDArray[np.floating]
Array = npt.NDArray[np.float64]
NEIGHBOURS = 5


def frechet_distance(a: Features, b: Features) -> float:
    """Squared Fréchet distance of the Gaussians fitted to two sets (Heusel et al., 2017, eq. 6).

    Biased upwards for few faces: compare only at equal counts, and with the distance between two sets of real faces.
    Below about twice as many faces as dimensions it says little; :func:`kernel_distance` has no such bias.
    """
    a, b = _checked(a), _checked(b)
    mean = np.square(a.mean(axis=0) - b.mean(axis=0)).sum()
    one, two = np.atleast_2d(np.cov(a, rowvar=False)), np.atleast_2d(np.cov(b, rowvar=False))
    values, vectors = np.linalg.eigh(one)
    root = (vectors * np.sqrt(values.clip(min=0))) @ vectors.T
    # The eigenvalues of root @ two @ root are those of one @ two, but the matrix is symmetric: no complex numbers.
    cross = np.sqrt(np.linalg.eigvalsh(root @ two @ root).clip(min=0)).sum()
    return float(mean + np.trace(one) + np.trace(two) - 2.0 * cross)


def kernel_distance(a: Features, b: Features) -> float:
    """Unbiased squared maximum mean discrepancy with the kernel ``(x . y / D + 1)^3`` (KID, Bińkowski et al., 2018).

    Zero in expectation for two sets from the same source, and therefore sometimes negative.
    """
    a, b = _checked(a), _checked(b)
    return mean_of_pairs(kernel(a, a)) + mean_of_pairs(kernel(b, b)) - 2.0 * float(kernel(a, b).mean())


def kernel(a: Features, b: Features) -> Array:
    """(N, M) kernels of :func:`kernel_distance` of (N, D) and (M, D) features."""
    return np.asarray((a.astype(np.float64) @ b.astype(np.float64).T / a.shape[1] + 1.0) ** 3)


def mean_of_pairs(matrix: Array, times: Array | None = None) -> float:
    """Mean of a symmetric (N, N) matrix over pairs of different faces.

    Args:
        times: (N,) how often each face counts, else once; a face never makes a pair with its own copy.

    Returns:
        ``nan`` where one face is all there is.
    """
    times = np.ones(len(matrix)) if times is None else times
    pairs = times.sum() ** 2 - np.square(times).sum()
    total = times @ matrix @ times - np.square(times) @ np.diag(matrix)
    return float(total / pairs) if pairs else float("nan")


def density_and_coverage(real: Features, made: Features, neighbours: int = NEIGHBOURS) -> tuple[float, float]:
    """Density and coverage (Naeem et al., 2020): how much of ``made`` lies where real faces are dense, and the share of
    real faces that have a made one within reach of their ``neighbours``-th real neighbour.

    Two sets from the same source give a density of about 1 and, with 5 neighbours and equal counts, a coverage of about
    0.97. Coverage falls with the number of made faces: compare at equal counts.

    Raises:
        ValueError: no more than ``neighbours`` real faces.
    """
    inside = within_reach(_checked(real), _checked(made), neighbours)
    return float(inside.sum() / (neighbours * len(made))), float(inside.any(axis=1).mean())


def within_reach(real: Features, made: Features, neighbours: int = NEIGHBOURS) -> npt.NDArray[np.bool_]:
    """(N, M) whether a made face lies nearer to a real one than that one's ``neighbours``-th real neighbour.

    Raises:
        ValueError: no more than ``neighbours`` real faces.
    """
    if len(real) <= neighbours:
        raise ValueError(f"{len(real)} real faces cannot have {neighbours} neighbours each")
    near = squared_distances(real, real)
    np.fill_diagonal(near, np.inf)
    reach = np.partition(near, neighbours - 1, axis=1)[:, neighbours - 1]
    return squared_distances(real, made) < reach[:, None]


def squared_distances(a: Features, b: Features) -> Array:
    """(N, M) squared Euclidean distances of (N, D) to (M, D) features; as a matrix product, many times faster than cdist."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    squared = np.square(a).sum(axis=1)[:, None] + np.square(b).sum(axis=1)[None] - 2.0 * a @ b.T
    return np.asarray(squared.clip(min=0.0))


def mean_pairwise_distance(features: Features) -> float:
    """Mean Euclidean distance over all pairs of one set: how unlike each other its faces are."""
    from scipy.spatial.distance import pdist

    return float(pdist(_checked(features)).mean())


def bootstrap(
    statistic: Callable[[npt.NDArray[np.intp]], float],
    count: int,
    *,
    rounds: int = 200,
    seed: int = 0,
    centre: float | None = None,
) -> tuple[float, float]:
    """95 % percentile interval of ``statistic(rows)`` over resampled row numbers of ``count`` faces (Efron, 1979).

    Args:
        centre: the statistic of all rows as they are; moves the interval so that its mean lies there. A resample holds
            faces twice, which every distance between sets takes for structure: without this, the interval of such a
            distance may not even hold it.
    """
    rng = np.random.default_rng(seed)
    values = np.array([statistic(rng.integers(0, count, count)) for _ in range(rounds)])
    if centre is not None:
        values += centre - values.mean()
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def _checked(features: Features) -> Array:
    if features.ndim != 2 or len(features) < 2:
        raise ValueError(f"need features of at least two faces, (N, D), got {features.shape}")
    return features.astype(np.float64)
