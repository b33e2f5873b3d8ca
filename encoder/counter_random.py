"""Random numbers that are a pure function of their keys, so that face i is the same in every batch.

A counter-based generator (Salmon et al., 2011, "Parallel random numbers: as easy as 1, 2, 3") has no state to advance:
the finaliser of SplitMix64 (Steele et al., 2014) is applied to each key in turn, for whole arrays at once.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def hash64(*keys: ArrayLike) -> NDArray[np.uint64]:
    """64 well-mixed bits for each combination of integer keys, broadcast against each other."""
    state = np.zeros(np.broadcast_shapes(*(np.shape(key) for key in keys)), np.uint64)
    with np.errstate(over="ignore"):  # arithmetic modulo 2**64 is the point
        for key in keys:
            state = (state ^ np.asarray(key).astype(np.uint64)) + _GAMMA
            state = (state ^ (state >> np.uint64(30))) * _MIX_1
            state = (state ^ (state >> np.uint64(27))) * _MIX_2
            state = state ^ (state >> np.uint64(31))
    return state


def uniforms(*keys: ArrayLike, count: int) -> NDArray[np.float32]:
    """(N, count) float32 in [0, 1): ``count`` numbers for each of the N combinations of keys (scalars or (N,))."""
    columns = [np.atleast_1d(np.asarray(key))[:, None] for key in keys]
    bits = hash64(*columns, np.arange(count)[None, :])
    return (bits >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)
