"""Moments at which a program that is asked to end goes on to the end of what it is about."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_ASKING = (signal.SIGINT, signal.SIGTERM, *((signal.SIGHUP,) if hasattr(signal, "SIGHUP") else ()))


@contextmanager
def undisturbed() -> Iterator[None]:
    """Let Ctrl-C, SIGTERM and SIGHUP wait until the block is done.

    It is for imports of packages written in other languages: an exception in the middle of one comes out as an ImportError that
    tells of a broken package, or ends the process in a crash.
    """
    if threading.current_thread() is not threading.main_thread():  # signals are the main thread's
        yield
        return
    waiting: list[int] = []
    before = {number: signal.getsignal(number) for number in _ASKING}
    # Those that are ignored, or end the process without a word, do so still.
    taken = [number for number, handler in before.items() if callable(handler)]
    for number in taken:
        signal.signal(number, lambda number, _frame: waiting.append(number))
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, before[number])
        if waiting:
            signal.raise_signal(waiting[0])
