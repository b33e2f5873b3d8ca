"""What cases are compared with, and what they came to."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.torture.starts import ACCELERATE, FORKED, PYTHON, TORCHRUN, Running
from tests.torture.works import WORKS, write_pictures


@dataclass
class Outcome:
    """What a case, or a campaign of them, has come to."""

    start: str = ""
    wrong: str = ""
    runs: int = 0
    starts: int = 0
    resumed: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    tracebacks: int = 0
    differing: int = 0
    orphans: int = 0
    slowest_stop: float = 0.0
    problems: list[str] = field(default_factory=list)


class Bench:
    """A folder with undisturbed runs to compare with, made when first needed; cases work beside them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._seconds: dict[tuple[str, str], float] = {}
        self._calls: dict[str, int] = {}
        write_pictures(folder / "pictures")
        for name in ("encoder", "vqvae"):  # the others read their weights
            self.whole(name, FORKED)

    def whole(self, name: str, how: str) -> Path:
        """The undisturbed run of a work; two processes sum in another order and have one of their own."""
        two = how == TORCHRUN
        folder = self.folder / ("whole-2" if two else "whole") / name
        if not folder.is_dir():
            folder.parent.mkdir(exist_ok=True)
            calls = self.folder / f"{name}.calls"
            made = Running(TORCHRUN if two else FORKED, WORKS[name], WORKS[name].argv(self.folder, folder, again=False),
                           folder.parent / f"{name}.log", calls=None if two else calls)  # fmt: skip
            if made.wait() != 0:
                raise RuntimeError(f"the undisturbed run of {name} failed:\n{made.log.read_text()}")
            self._seconds[name, how if two else FORKED] = time.monotonic() - made.started
            self._calls.setdefault(name, int(calls.read_text()) if calls.is_file() else 1)
        return folder

    def calls(self, name: str) -> int:
        """How often the undisturbed run dealt with files."""
        self.whole(name, FORKED)
        return self._calls[name]

    def seconds(self, name: str, how: str) -> float:
        """About how long an undisturbed run takes."""
        self.whole(name, how)
        alike = self._seconds.get((name, FORKED), 5.0) + {PYTHON: 3.0, ACCELERATE: 7.0}.get(how, 0.0)
        return self._seconds.get((name, how), alike)

    def took(self, name: str, how: str, seconds: float) -> None:
        """Take note how long a start that ran to its end took; a resumed one may have had little to do."""
        if how != FORKED:
            self._seconds[name, how] = max(seconds, self._seconds.get((name, how), 0.0))
