"""Ctrl-C and SIGTERM as a wish that training reads between steps."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any

INTERRUPTED_EXIT = 130
TERMINATED_EXIT = 143
GO_ON = "continue with --resume latest"  # what whoever stopped a training is told


class StopRequest:
    """Turns the first Ctrl-C or SIGTERM into a flag that is read between steps; the second ends at once."""

    def __init__(self) -> None:
        self.exit_code = 0
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self.exit_code:
            raise KeyboardInterrupt
        self.exit_code = INTERRUPTED_EXIT if number == signal.SIGINT else TERMINATED_EXIT
