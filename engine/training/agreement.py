"""What all processes of a run must decide alike: when to stop, and that one of them has failed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import torch
import torch.distributed as dist

from configs.cli import USER_ERROR_EXIT, UserError, leave_taking

if TYPE_CHECKING:
    from accelerate import Accelerator, PartialState

T = TypeVar("T")

# One process may index or read a data set for long while the others wait.
_PATIENCE = timedelta(hours=6)
# The one group of this process, made when first needed. Nothing else keeps it: it has to go before the interpreter does.
_shared: list[Any] = []


class Agreement:
    """Exchanges a few numbers a step over the CPU, so that no GPU has to empty its queue for them."""

    def __init__(self, accelerator: Accelerator | PartialState) -> None:
        self._rank, self._world = accelerator.process_index, accelerator.num_processes
        if self._world > 1 and not _shared:
            _shared.append(dist.new_group(backend="gloo", timeout=_PATIENCE))
            leave_taking(_shared.clear)

    def highest(self, *values: float) -> tuple[float, ...]:
        """The largest of each value over all processes."""
        if self._world == 1:
            return values
        numbers = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(numbers, op=dist.ReduceOp.MAX, group=_shared[0])
        return tuple(numbers.tolist())

    def say(self, line: str) -> None:
        """Tell what is going on, once for all processes."""
        if self._rank == 0:
            print(line, file=sys.stderr)

    def end_if(self, problem: str | None) -> None:
        """Go on if no process has a problem. Else the first that has one says so, and all end with the same code.

        A process that ended alone would leave the others waiting for it.

        Raises:
            UserError: the problem, in the first process that has one.
            SystemExit: in the others.
        """
        (turn,) = self.highest(0.0 if problem is None else float(self._world - self._rank))
        if not turn:
            return
        if problem is not None and turn == self._world - self._rank:
            raise UserError(problem)
        raise SystemExit(USER_ERROR_EXIT)

    def in_first(self, act: Callable[[], object]) -> None:
        """Let the first process do what need be done once; the others wait, and end with it if it cannot."""
        self._in(self._rank == 0, act)

    def in_turn(self, act: Callable[[], T]) -> T:
        """What ``act`` gives in each process; the first goes first, so that the others find what it downloads or writes."""
        first = self._in(self._rank == 0, act)
        rest = self._in(self._rank != 0, act)
        return first if self._rank == 0 else rest  # type: ignore[return-value]

    def _in(self, mine: bool, act: Callable[[], T]) -> T | None:
        made, problem = None, None
        try:
            made = act() if mine else None
        except UserError as error:
            problem = str(error)
        self.end_if(problem)
        return made
