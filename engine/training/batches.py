"""Order of the data, and random numbers per face, as pure functions of (seed, step).

Nothing is carried from step to step, so a run resumes exactly from one integer, and the global order is the same for
any number of processes. Permutations come from sorting hashes and not from a library's shuffle, whose stream may change
between releases.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from configs.cli import UserError
from engine import counter_random
from engine.counter_random import permute, permute_nearby

if TYPE_CHECKING:
    from accelerate import Accelerator

# First key of each hash, so that order, draws and augmentation never share numbers.
_ORDER, _DRAW, _REJECT, _UNIFORM = 0x0B, 0x0D, 0x0E, 0x0F
# Up to here an epoch is a sorted array, shuffled without any bias; beyond, it would cost 16 bytes an item and process.
_LARGEST_SORTED = 1 << 20
# (n,) items to the probability in (0, 1] with which a draw of each is taken.
Accept = Callable[[NDArray[np.int64]], NDArray]


class GlobalBatches:
    """Maps a step to the indices of its batch; the only state is the step itself.

    Without weights, an epoch is a permutation of the data cut into ``steps_per_epoch`` batches. Where the batch size
    does not divide the length, the rest of the permutation is left out (others in each epoch); a data set shorter than
    one batch is repeated to fill it. With weights, every place of every batch is drawn on its own, with replacement.

    Args:
        length: number of items (N).
        batch_size: size of the global batch, over all processes.
        seed: of the order.
        rank: this process, 0 to ``world - 1``; it takes the ``rank``-th part of the global batch.
        world: number of processes.
        weights: (N,) relative frequency of each item, at least 0; or a function of items to theirs, in (0, 1], for more
            items than such an array should be kept of.
        block: shuffle blocks of so many consecutive items, then the items of ``window`` blocks among themselves, for data
            that are read in blocks; 0: shuffle all items alike.
        window: blocks in a window.

    Raises:
        UserError: no items, a batch size that does not divide by ``world``, or unusable weights.
    """

    def __init__(
        self,
        length: int,
        batch_size: int,
        *,
        seed: int,
        rank: int = 0,
        world: int = 1,
        weights: np.ndarray | Accept | None = None,
        block: int = 0,
        window: int = 64,
    ) -> None:
        if length < 1:
            raise UserError("the data set is empty: there is nothing to make batches of")
        if not 0 <= rank < world:
            raise ValueError(f"rank {rank} is not in 0..{world - 1}")
        if batch_size < 1 or batch_size % world:
            raise UserError(
                f"batch_size: {batch_size} cannot be shared by {world} process(es); use a positive multiple of {world}"
            )
        self.length, self.batch_size, self.seed = length, batch_size, seed
        self.rank, self.world = rank, world
        self._block, self._window = block, window
        self.steps_per_epoch = max(1, length // batch_size)
        self._accept = weights if callable(weights) else None
        self._cumulative = None if weights is None or callable(weights) else _cumulative(weights, length)
        # The order of one epoch, kept because consecutive steps share it.
        self._epoch_order: tuple[int, NDArray[np.int64]] | None = None

    @classmethod
    def shared(cls, accelerator: Accelerator, length: int, batch_size: int, **settings: Any) -> Self:
        """The part of this process in a training by several, with the ``settings`` of the class."""
        return cls(length, batch_size, rank=accelerator.process_index, world=accelerator.num_processes, **settings)

    def __call__(self, step: int) -> tuple[int, NDArray[np.int64]]:
        """The epoch that ``step`` (from 0) belongs to, and this rank's (batch_size / world,) indices."""
        return self._epoch(step), self._items(step, self.places())

    def places(self) -> NDArray[np.int64]:
        """This rank's places in the global batch: with the step, keys of random numbers that no other place shares."""
        share = self.batch_size // self.world
        return np.arange(self.rank * share, (self.rank + 1) * share)

    def whole(self, step: int) -> NDArray[np.int64]:
        """(batch_size,) int64 indices of the global batch at ``step``, the same on every rank."""
        return self._items(step, np.arange(self.batch_size))

    def _items(self, step: int, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """The items at some places of the global batch."""
        epoch = self._epoch(step)
        if self._accept is not None:
            return self._draw_and_reject(step, places, self._accept)
        if self._cumulative is not None:
            return self._draw(step, places, self._cumulative)
        start = (step - epoch * self.steps_per_epoch) * self.batch_size
        return self._ordered(epoch, (start + places) % self.length)

    def _epoch(self, step: int) -> int:
        if step < 0:
            raise ValueError(f"step {step} is negative")
        return step // self.steps_per_epoch

    def _ordered(self, epoch: int, places: NDArray[np.int64]) -> NDArray[np.int64]:
        if self._block:
            return permute_nearby(places, self.length, _ORDER, self.seed, epoch, block=self._block, window=self._window)
        if self.length > _LARGEST_SORTED:
            return permute(places, self.length, _ORDER, self.seed, epoch)
        return self._order(epoch)[places]

    def _order(self, epoch: int) -> NDArray[np.int64]:
        cached = self._epoch_order
        if cached is None or cached[0] != epoch:
            keys = counter_random.hash64(_ORDER, self.seed, epoch, np.arange(self.length))
            cached = self._epoch_order = (epoch, np.argsort(keys, kind="stable"))
        return cached[1]

    def _draw(self, step: int, places: NDArray[np.int64], cumulative: NDArray[np.float64]) -> NDArray[np.int64]:
        bits = counter_random.hash64(_DRAW, self.seed, step, places)
        share = (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53
        drawn = np.searchsorted(cumulative, share * cumulative[-1], side="right")
        # Rounding can carry a share of almost 1 onto the total; the last item of positive weight is meant then.
        return np.minimum(drawn, np.searchsorted(cumulative, cumulative[-1], side="left")).astype(np.int64)

    def _draw_and_reject(self, step: int, places: NDArray[np.int64], accept: Accept) -> NDArray[np.int64]:
        """Uniform draws, each taken with the probability that ``accept`` gives it, or drawn again."""
        items = np.empty(len(places), np.int64)
        left = np.arange(len(places))
        for attempt in itertools.count():
            shares = counter_random.hash64(_REJECT, self.seed, step, places[left, None], attempt, np.arange(2)) >> np.uint64(11)
            drawn, chance = (shares.astype(np.float64) * 2.0**-53).T
            items[left] = np.minimum((drawn * self.length).astype(np.int64), self.length - 1)
            left = left[chance >= accept(items[left])]
            if not len(left):
                return items
        raise AssertionError("unreachable")


def _cumulative(weights: np.ndarray, length: int) -> NDArray[np.float64]:
    values = np.asarray(weights, np.float64)
    if values.shape != (length,):
        raise UserError(f"sampling weights: need one per item, shape ({length},), got {values.shape}")
    if not np.isfinite(values).all() or (values < 0).any():
        bad = int(np.flatnonzero(~np.isfinite(values) | (values < 0))[0])
        raise UserError(f"sampling weights: item {bad} has {values[bad]}; weights must be finite and at least 0")
    total = values.sum()
    if not 0 < total < np.inf:
        raise UserError("sampling weights: their sum must be positive and finite")
    return np.cumsum(values / total)


def uniforms(seed: int, epoch: int, indices: np.ndarray, count: int) -> NDArray[np.float32]:
    """(B, count) float32 in [0, 1): the random numbers of each face in one epoch.

    Row ``i`` depends on ``(seed, epoch, indices[i])`` alone: not on the batch around it, the process or the worker. A
    face that is drawn twice in an epoch (weights, or a set shorter than a batch) gets the same numbers twice.
    """
    return counter_random.uniforms(_UNIFORM, seed, epoch, np.asarray(indices, np.int64), count=count)
