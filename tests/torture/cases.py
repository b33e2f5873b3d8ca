"""A case is a number: from it follow the program, how it is started, and what is done to it. What it came to is an outcome."""

from __future__ import annotations

import errno
import os
import random
import re
import shutil
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.torture.bench import Bench, Outcome
from tests.torture.disks import allow, small_disk, unmount
from tests.torture.starts import ACCELERATE, FORKED, PYTHON, ROOT, STARTS, TORCHRUN, Running
from tests.torture.works import WORKS, Work

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
SHARES = {FORKED: 86, PYTHON: 8, ACCELERATE: 3, TORCHRUN: 3}
WRONGS = {"stopped": 60, "call fails": 14, "disk full": 8, "read-only": 5, "second writer": 5, "clock back": 8}
_REFUSED = "start without --resume"
_ERRNOS = (errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS, errno.EACCES)


def run_case(seed: int, bench: Bench, how: str | None = None) -> Outcome:
    """Do to a program what the number says, let it end, and compare; ``how``: only so started."""
    chance = random.Random(seed)
    drawn = chance.choices(list(SHARES), list(SHARES.values()))[0]
    how = how or drawn
    launched = how in (ACCELERATE, TORCHRUN)
    able = [name for name, work in WORKS.items() if not launched or (work.launched and (how == TORCHRUN or work.script))]
    name = chance.choice(able)
    wrong = "stopped" if launched else chance.choices(list(WRONGS), list(WRONGS.values()))[0]
    if wrong == "second writer" and not WORKS[name].stages:
        wrong = "stopped"
    place = bench.folder / f"case-{seed}"
    shutil.rmtree(place, ignore_errors=True)
    case = _Case(chance, bench, name, how, Outcome(how, wrong, runs=1), place)
    try:
        WAYS[wrong](case)
        case.finish()
    except TimeoutError as error:
        case.lose(str(error))
    if not case.outcome.problems:
        shutil.rmtree(case.place, ignore_errors=True)
    return case.outcome


class _Case:
    def __init__(self, chance: random.Random, bench: Bench, name: str, how: str, outcome: Outcome, place: Path) -> None:
        self.chance, self.bench, self.name, self.how, self.outcome, self.place = chance, bench, name, how, outcome, place
        self.work: Work = WORKS[name]
        self.whole = bench.whole(name, how)
        self.folder = place / "there" / "run"
        self.folder.parent.mkdir(parents=True)
        self.anew = False

    def start(self, fault: dict[str, Any] | None = None) -> Running:
        """Start the program, or start it again, as its user would."""
        self.outcome.starts += 1
        again = self.folder.is_dir() and not self.anew
        self.outcome.resumed += again
        argv = self.work.argv(self.bench.folder, self.folder, again=again)
        self.anew = False
        how = self.how
        # The bench's paths only: PYTHONPATH has what faults need, and the folder of the run is what is watched.
        fault = fault and {**fault, "folder": str(self.folder.parent)}
        return Running(how, self.work, argv, self.place / f"{self.outcome.starts:02d}.log", fault)

    def lose(self, problem: str) -> None:
        self.outcome.lost += 1
        self.outcome.problems.append(f"{self.name}, {self.how}, {self.outcome.wrong}: {problem}")

    def judge(self, ended: Running, code: int, allowed: set[int], number: int = 0) -> None:
        """What an ended process said and left, and its exit code; a launcher has codes and tracebacks of its own."""
        said = ended.log.read_text(errors="replace")
        if ended.orphans:
            self.outcome.orphans += ended.orphans
            self.lose(f"{ended.log}: {ended.orphans} processes of a launcher that was killed ran on")
        self.anew = _REFUSED in said
        ours = [each for each in tracebacks(said) if self.how in (FORKED, PYTHON) or _ours(each)]
        if number == signal.SIGINT:  # before the program's first line Ctrl-C is Python's own
            ours = [each for each in ours if "in run" in each or "KeyboardInterrupt" not in each]
        if ours:
            self.outcome.tracebacks += len(ours)
            self.outcome.problems.append(f"{self.name}, {self.how}, {self.outcome.wrong}: {ended.log}: {ours[0][-600:]}")
        if self.how in (FORKED, PYTHON) and code not in allowed and not self.anew:
            self.lose(f"{ended.log}: exit code {code}, not among {sorted(allowed)}: {said[-300:]}")
        if code == 2 and self.how in (FORKED, PYTHON) and said.count("error: ") != 1:
            self.lose(f"{ended.log}: not one line: {said[-600:]}")
        for problem in self.work.broken(self.folder, self.whole) if self.folder.is_dir() else ():
            self.lose(problem)

    def finish(self) -> None:
        """Start it until it is done, and compare with the undisturbed run."""
        for _ in range(3):
            ended = self.start()
            code = ended.wait() or 0
            self.judge(ended, code, {0})
            if code == 0:
                self.bench.took(self.name, self.how, time.monotonic() - ended.started)
                break
        else:
            self.lose(f"never done: {ended.log.read_text(errors='replace')[-600:]}")
            return
        differ = self.work.differences(self.folder, self.whole)
        self.outcome.differing += len(differ)
        if differ:
            self.lose("; ".join(differ[:5]))
        if self.name == "dataset" and (left := self.work.leftovers(self.folder)):
            self.lose(f"left behind: {left}")


def tracebacks(said: str) -> list[str]:
    """Every traceback in what was said, from its first line to the exception."""
    return re.findall(r"Traceback \(most recent call last\):\n(?:[ |+].*\n|\n)*\S.*", said)


def _ours(traceback: str) -> bool:
    """Whether the product takes part; launchers print tracebacks of their own."""
    return bool(re.search(rf'File "{re.escape(str(ROOT))}/(?!\.venv)', traceback)) and "in launch" not in traceback


def _stopped(case: _Case) -> None:
    for _ in range(case.chance.randint(2, 7)):
        number = case.chance.choice(SIGNALS)
        at_call = case.how in (FORKED, PYTHON) and case.chance.random() < 0.5
        if at_call:
            fault = {"signal": int(number), "at": case.chance.randint(1, case.bench.calls(case.name))}
            ended = case.start(fault)
            code = ended.wait()
        else:
            ended = case.start()
            ended.wait(until=ended.started + case.chance.uniform(0.0, 1.05) * case.bench.seconds(case.name, case.how))
            whom = "first" if case.how in (FORKED, PYTHON) else case.chance.choice(("first", "child", "all"))
            sent = time.monotonic()
            stopped = ended.send(number, whom)
            code = ended.wait()
            if stopped:
                case.outcome.slowest_stop = max(case.outcome.slowest_stop, time.monotonic() - sent)
        if code != 0:
            case.outcome.kills[number.name] += 1
        # The rest of a program that is at its end already, or that the kill came too late for.
        ends = {signal.SIGKILL: {0, -9}, signal.SIGTERM: {0, 143, -15}, signal.SIGINT: {0, 130, -2}}[number]
        case.judge(ended, code or 0, ends, number)
        if code == 0:
            return


def _call_fails(case: _Case) -> None:
    for _ in range(case.chance.randint(1, 3)):
        fault: dict[str, Any] = {"errno": case.chance.choice(_ERRNOS), "lasting": case.chance.random() < 0.5}
        fault["at"] = case.chance.randint(1, case.bench.calls(case.name))
        ended = case.start(fault)
        code = ended.wait() or 0
        case.judge(ended, code, {0, 1, 2})
        if code == 0 and case.work.stages:
            return


def _disk_full(case: _Case) -> None:
    used = sum(path.stat().st_size for path in case.whole.rglob("*") if path.is_file()) // 1024
    with small_disk(case.folder.parent, case.chance.randint(4, max(8, used))) as change:
        if change is None:  # the nearest to it that needs no rights: every write from one on fails
            fault = {"errno": errno.ENOSPC, "lasting": True, "at": case.chance.randint(1, case.bench.calls(case.name))}
            ended = case.start(fault)
        else:
            ended = case.start()
        case.judge(ended, ended.wait() or 0, {0, 1, 2})
        if change is not None:
            change("size=256m")
            _settled(case)


def _read_only(case: _Case) -> None:
    with small_disk(case.folder.parent, 256 * 1024) as change:
        if change is None and os.geteuid() == 0:  # to whom nothing is read-only
            case.outcome.wrong = "read-only: not possible here"
            return
        ended = case.start()
        ended.wait(until=ended.started + case.chance.uniform(0.0, 1.0) * case.bench.seconds(case.name, case.how))
        ended.send(signal.SIGKILL)
        case.outcome.kills["SIGKILL"] += ended.wait() != 0
        made = change or (lambda options: allow(case.folder.parent, writing="rw" in options))
        made("ro")
        ended = case.start()
        case.judge(ended, ended.wait() or 0, {0, 2})
        made("rw")
        _settled(case)


def _settled(case: _Case) -> None:
    """End the case on its small disk, which is then taken away."""
    kept = case.place / "kept"
    case.finish()
    with suppress(OSError):
        shutil.copytree(case.folder, kept)
    unmount(case.folder.parent)
    with suppress(OSError):
        shutil.move(kept, case.folder)


def _second_writer(case: _Case) -> None:
    first = case.start()
    lock = case.folder / (".lock" if case.work.stages == ("",) else f"{case.work.stages[0]}/.lock")
    while first.poll() is None and not (lock.is_file() and lock.stat().st_size):
        time.sleep(0.005)
    os.kill(first.number, signal.SIGSTOP)
    try:
        second = case.start()
        code = second.wait()
    finally:
        os.kill(first.number, signal.SIGCONT)
    said = second.log.read_text(errors="replace")
    ended = first.wait() or 0
    case.judge(second, code or 0, {2})
    if f"process {first.number} trains here" not in said and not case.anew:
        case.lose(f"{second.log}: a second writer was let in: {said[-300:]}")
    case.judge(first, ended, {0})


def _clock_back(case: _Case) -> None:
    for _ in range(2):
        fault = {"back": case.chance.choice((3600, 86_400, 40 * 365 * 86_400)), "at": case.chance.randint(0, 50)}
        ended = case.start(fault)
        ended.wait(until=ended.started + case.chance.uniform(0.2, 1.0) * case.bench.seconds(case.name, case.how))
        if ended.send(signal.SIGTERM):
            case.outcome.kills["SIGTERM"] += ended.wait() != 0
        case.judge(ended, ended.wait() or 0, {0, 143, -15})
        # As seen by a clock that was set back, all that is there comes from the future.
        ahead = time.time() + case.chance.choice((3600, 10**9))
        for path in case.folder.rglob("*"):
            os.utime(path, (ahead, ahead))


WAYS: dict[str, Callable[[_Case], None]] = {
    "stopped": _stopped, "call fails": _call_fails, "disk full": _disk_full, "read-only": _read_only,
    "second writer": _second_writer, "clock back": _clock_back,
}  # fmt: skip

assert set(SHARES) == set(STARTS)
