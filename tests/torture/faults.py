"""What goes wrong inside a process at its n-th dealing with files: a signal, a full disk, a broken one, a clock set back.

Installed in a forked process by a call, in others by :mod:`tests.torture.hook`; nothing of the product knows of it.
"""

from __future__ import annotations

import builtins
import io
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HOOK = Path(__file__).resolve().parent / "hook"
VARIABLE = "TORTURE_FAULT"


class Faults:
    """Counts writes, flushes, renames and openings for writing in ``folder``, and acts at one of them.

    Args:
        plan: ``folder``; ``at``: the number of the call, from 1, 0 for never; ``signal``: the process sends it to itself; or
            ``errno``: the call fails so, and with ``lasting`` all after it; or ``back``: seconds that the clock is set back.
        report: the file that is told at each call how many there were; None: nobody.
    """

    def __init__(self, plan: dict[str, Any], report: Path | None = None) -> None:
        self._plan, self._report, self.count, self._owner = plan, report, 0, os.getpid()

    def install(self) -> None:
        """Wrap what the process uses to write."""
        for name in ("rename", "replace", "fsync", "mkdir", "write", "ftruncate"):
            setattr(os, name, self._counted(getattr(os, name), always=name in ("fsync", "ftruncate")))
        builtins.open = io.open = self._open(io.open)  # type: ignore[assignment]
        if "back" in self._plan:
            for name in ("time", "time_ns"):
                setattr(time, name, self._clock(getattr(time, name), 1 if name == "time" else 10**9))

    def _call(self) -> None:
        if os.getpid() != self._owner:
            return
        self.count += 1
        if self._report is not None:
            descriptor = os.open(self._report, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            _WRITE(descriptor, str(self.count).encode())
            os.close(descriptor)
        at = self._plan.get("at", 0)
        now = at and (self.count == at or (self.count > at and self._plan.get("lasting")))
        if now and "signal" in self._plan:
            os.kill(os.getpid(), self._plan["signal"])
        elif now and "errno" in self._plan:
            raise OSError(self._plan["errno"], os.strerror(self._plan["errno"]))

    def _inside(self, place: Any) -> bool:
        if not isinstance(place, str | bytes | os.PathLike):
            return False
        return os.path.abspath(os.fsdecode(place)).startswith(self._plan["folder"])

    def _counted(self, original: Callable[..., Any], *, always: bool) -> Callable[..., Any]:
        def wrapper(*arguments: Any, **options: Any) -> Any:
            if always or self._inside(arguments[0]):
                self._call()
            return original(*arguments, **options)

        return wrapper

    def _open(self, original: Callable[..., Any]) -> Callable[..., Any]:
        faults = self

        class Watched(io.FileIO):
            def write(self, data: Any) -> int:
                faults._call()
                return super().write(data)

        def wrapper(file: Any, mode: str = "r", buffering: int = -1, *rest: Any, **options: Any) -> Any:
            if not set(mode) & set("wxa+") or not faults._inside(file):
                return original(file, mode, buffering, *rest, **options)
            faults._call()
            raw = Watched(file, mode.replace("b", "").replace("t", ""))
            if buffering == 0:
                return raw
            buffered = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
            return buffered if "b" in mode else io.TextIOWrapper(buffered, *rest, **options)

        return wrapper

    def _clock(self, original: Callable[[], Any], unit: int) -> Callable[[], Any]:
        calls = [0]

        def wrapper() -> Any:
            calls[0] += 1
            return original() - (int(self._plan["back"] * unit) if calls[0] > self._plan["at"] else 0)

        return wrapper


_WRITE = os.write
