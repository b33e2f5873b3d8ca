"""Random numbers that are a pure function of their keys, so that face i is the same in every batch.

A counter-based generator (Salmon et al., 2011, "Parallel random numbers: as easy as 1, 2, 3") has no state to advance:
the finaliser of SplitMix64 (Steele et al., 2014) is applied to each key in turn, for whole arrays at once.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine import counter_random

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


_ROUNDS = 6


def permute(places: ArrayLike, size: ArrayLike, *key: ArrayLike) -> NDArray[np.int64]:
    """Where each of ``places`` in 0..size-1 goes under the permutation of 0..size-1 that ``key`` (integers) names.

    A Feistel network with hashes as round functions (Luby & Rackoff, 1988) permutes the next larger power of four;
    results beyond ``size`` are permuted again until they fit (Black & Rogaway, 2002). ``size`` and the parts of the key
    may be arrays like ``places``: each element then has a permutation of its own.
    """
    flat = np.atleast_1d(np.asarray(places, np.int64))
    sizes = np.broadcast_to(np.asarray(size, np.int64), flat.shape)
    keys = [np.broadcast_to(np.asarray(part).astype(np.uint64), flat.shape) for part in key]
    bits = np.zeros(flat.shape, np.uint64)
    for one in np.unique(sizes):
        bits[sizes == one] = max(1, ((int(one) - 1).bit_length() + 1) // 2)
    result = flat.copy()
    left = np.arange(len(flat))
    while len(left):
        result[left] = _feistel(result[left], bits[left], [part[left] for part in keys])
        left = left[result[left] >= sizes[left]]
    return result.reshape(np.shape(places))


def permute_nearby(places: ArrayLike, size: int, *key: int, block: int, window: int) -> NDArray[np.int64]:
    """As :func:`permute`, but neighbours in the result come from few parts of the data.

    Blocks of ``block`` consecutive items are shuffled; then the items of each ``window`` blocks in a row are shuffled
    among themselves. A reader that fetches whole blocks so reads each of them about once an epoch.
    """
    result = np.atleast_1d(np.asarray(places, np.int64)).copy()
    left = np.arange(len(result))
    while len(left):
        result[left] = _nearby_once(result[left], size, key, block, window)
        left = left[result[left] >= size]
    return result.reshape(np.shape(places))


def _nearby_once(places: NDArray[np.int64], size: int, key: tuple[int, ...], block: int, window: int) -> NDArray[np.int64]:
    """A permutation of 0..blocks*block-1, the next multiple of ``block``."""
    blocks, pool = -(-size // block), block * window
    number, inside = np.divmod(places, pool)
    inside = permute(inside, np.minimum(pool, blocks * block - number * pool), *key, 1, number)
    slot, offset = np.divmod(inside, block)
    return permute(number * window + slot, blocks, *key, 2) * block + offset


def _feistel(values: NDArray[np.int64], bits: NDArray[np.uint64], keys: list[NDArray[np.uint64]]) -> NDArray[np.int64]:
    mask = (np.uint64(1) << bits) - np.uint64(1)
    plain = values.astype(np.uint64)
    high, low = plain >> bits, plain & mask
    for number in range(_ROUNDS):
        high, low = low, high ^ (counter_random.hash64(*keys, number, low) & mask)
    return ((high << bits) | low).astype(np.int64)
