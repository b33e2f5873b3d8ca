"""Ctrl-C, SIGTERM and SIGHUP, and the end of the launcher, as a wish that training reads between steps."""

from __future__ import annotations

import os
import signal
import time
from types import FrameType
from typing import Any

from configs.cli import LAUNCHER

INTERRUPTED_EXIT = 130
TERMINATED_EXIT = 143
HANGUP_EXIT = 129
GO_ON = "continue with --resume latest"  # what whoever stopped a training is told
_NUMBERS = (signal.SIGINT, signal.SIGTERM, *((signal.SIGHUP,) if hasattr(signal, "SIGHUP") else ()))


class StopRequest:
    """Turns the first signal into a flag that is read between steps; the second ends at once.

    A signal that is ignored (``nohup``) stays so. The end of the launcher counts as SIGTERM: ``accelerate launch`` of one
    process does not hand on what it is sent, and a training that went on alone would surprise who starts it again.
    """

    def __init__(self) -> None:
        self._number = 0
        self._previous: dict[int, Any] = {}
        self._shown = _terminals()

    def __enter__(self) -> StopRequest:
        for number in _NUMBERS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    @property
    def exit_code(self) -> int:
        """0, or 128 and the number of the signal that asked for the end."""
        number = self._number or (signal.SIGTERM if LAUNCHER is not None and _launcher_is_gone() else 0)
        return 128 + number if number else 0

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self._number:
            raise KeyboardInterrupt
        self._number = number
        if number not in (signal.SIGINT, signal.SIGTERM):
            _leave(self._shown)


def let_launcher_speak(exit_code: int, seconds: float = 2.0) -> None:
    """After Ctrl-C wait until ``accelerate launch`` has printed its traceback, so that what is said next is seen."""
    if LAUNCHER is None or "TORCHELASTIC_RUN_ID" in os.environ or exit_code != INTERRUPTED_EXIT:
        return
    end = time.monotonic() + seconds
    while not _launcher_is_gone() and time.monotonic() < end:
        time.sleep(0.02)


def _launcher_is_gone() -> bool:
    return os.getppid() != LAUNCHER


def _terminals() -> list[int]:
    """The descriptors among standard output and error that lead to a terminal."""
    return [number for number in (1, 2) if os.isatty(number)]


def _leave(terminals: list[int]) -> None:
    """Point those of ``terminals`` that were closed elsewhere: to write there is an error from now on."""
    for number in set(terminals) - set(_terminals()):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, number)
        os.close(null)
