"""Batches made ahead of time by other processes, in an order that nothing can disturb: that of the steps."""

from __future__ import annotations

import gc
import itertools
import signal
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from configs.cli import UserError

Arrays = tuple[np.ndarray, ...]


class _Steps(Dataset):
    def __init__(self, make: Callable[[int], Arrays]) -> None:
        self._make = make

    def __getitem__(self, step: int) -> tuple[Tensor, ...] | str:
        """The batch, or the line that says why there is none: sent as an exception, it would come with a traceback."""
        try:
            return tuple(torch.from_numpy(array) for array in self._make(step))
        except UserError as error:
            return str(error)


class _From(Sampler):
    """All steps from one on."""

    def __init__(self, first: int) -> None:
        self._first = first

    def __iter__(self) -> Iterator[int]:
        return itertools.count(self._first)


def _leave_signals_to_the_trainer(_worker: int) -> None:
    """Ctrl-C reaches every process of a terminal; the batches in the making are still needed for an orderly end."""
    # What the trainer had dropped is not collected here: to end an ONNX session is to wait for threads that only it has.
    gc.freeze()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


class BatchStream:
    """``stream(step)`` gives what ``make(step)`` makes, as tensors.

    With ``workers``, that many processes make the batches of the next steps meanwhile. ``make`` must be a pure function
    of the step: then neither the number of workers nor a resume can change, skip or repeat anything.

    Args:
        make: a function or object that can be sent to another process.
        workers: 0: made when asked for, in this process.
        fresh: start workers as new interpreters, as clients of object stores need; else they are forked.
        pin: keep tensors in memory that a GPU reads faster.
    """

    def __init__(self, make: Callable[[int], Arrays], workers: int, *, fresh: bool = False, pin: bool = False) -> None:
        self._steps, self._workers, self._fresh, self._pin = _Steps(make), workers, fresh, pin
        self._next = -1
        self._batches: Iterator[Any] | None = None
        self._fetched: tuple[int, tuple[Tensor, ...]] | None = None

    def fetch(self, step: int) -> None:
        """Make the batch of ``step`` now and keep it until it is asked for.

        Raises:
            UserError: that of ``make``, from whichever process.
        """
        self._fetched = step, self._make(step)

    def __call__(self, step: int) -> tuple[Tensor, ...]:
        """The batch of ``step``; steps in a row are fast, any other begins anew.

        Raises:
            UserError: that of ``make``, from whichever process.
        """
        fetched, self._fetched = self._fetched, None
        return fetched[1] if fetched is not None and fetched[0] == step else self._make(step)

    def _make(self, step: int) -> tuple[Tensor, ...]:
        if not self._workers:
            batch = self._steps[step]
        else:
            if self._batches is None or step != self._next:
                self._batches = iter(self._loader(step))
            self._next = step + 1
            batch = next(self._batches)
        if isinstance(batch, str):
            raise UserError(batch)
        return tuple(batch)

    def close(self) -> None:
        """End the workers."""
        self._batches = None

    def _loader(self, first: int) -> DataLoader:
        return DataLoader(
            self._steps,
            batch_size=None,
            sampler=_From(first),
            num_workers=self._workers,
            worker_init_fn=_leave_signals_to_the_trainer,
            multiprocessing_context="spawn" if self._fresh else None,
            pin_memory=self._pin,
            # Without one of its own, starting the loader would take a number from the one that the step draws from.
            generator=torch.Generator(),
        )
