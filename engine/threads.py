"""How many threads a program computes with: as many as cores are idle, unless somebody said how many.

Threads that wait for one whose core is busy with other work are slower than one alone: two of them beside one busy core took
twice the time of one. Sums of another number of threads differ in their last bits.
"""

from __future__ import annotations

import os
import time
from functools import cache
from pathlib import Path

from configs.cli import LAUNCHER, in_program

# Seconds in which others show whether they are at work. The system counts in hundredths.
_WATCHED = 0.1
_settled = False


def asked_threads() -> int | None:
    """The number that ``OMP_NUM_THREADS`` or ``MKL_NUM_THREADS`` asks for; None: nobody asked."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        first = os.environ.get(name, "").partition(",")[0].strip()
        if first.isdecimal() and int(first):
            return None if name == "OMP_NUM_THREADS" and _launcher_chose() else int(first)
    return None


@cache
def _launcher_chose() -> bool:
    """Whether ``accelerate launch`` of one process set the variable without being told to: to 1, or to all cores."""
    import psutil

    if LAUNCHER is None or "ACCELERATE_DYNAMO_MODE" not in os.environ or "TORCHELASTIC_RUN_ID" in os.environ:
        return False
    try:
        launcher = psutil.Process(LAUNCHER)
        told = any(word.startswith("--num_cpu_threads_per_process") for word in launcher.cmdline())
        return not told and "OMP_NUM_THREADS" not in launcher.environ()
    except psutil.Error:
        return False


def free_threads() -> int:
    """What was asked for, else the cores that this process may use and nobody does; shared by those launched together."""
    return asked_threads() or max(1, min(allowed_cores(), round(_idle_cores())) // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def allowed_cores() -> int:
    """Cores that the affinity and the control groups of this process leave it."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, int(min(count, _quota())))


def _idle_cores() -> float:
    """Cores, of those that this process may run on, that nobody uses while it waits."""
    import psutil

    before = psutil.cpu_times(percpu=True)
    time.sleep(_WATCHED)
    after = psutil.cpu_times(percpu=True)
    mine = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(len(after))
    idle = 0.0
    for number, (old, new) in enumerate(zip(before, after, strict=False)):
        if number in mine:
            waited = sum(getattr(new, name, 0.0) - getattr(old, name, 0.0) for name in ("idle", "iowait"))
            idle += min(1.0, waited / max(sum(new) - sum(old), 1e-9)) if sum(new) > sum(old) else 1.0
    return idle


def _quota(groups: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> float:
    """Cores' worth of time that control groups (version 2, or 1 as containers see it) grant; infinity: no bound."""
    least = float("inf")
    try:
        place = next(line[3:] for line in own.read_text().splitlines() if line.startswith("0::")).strip("/")
    except (OSError, StopIteration):
        place = ""
    for folder in (groups / place, *(groups / place).parents):
        if not folder.is_relative_to(groups):
            break
        least = min(least, _ratio([folder / "cpu.max"]))
    return min(least, _ratio([groups / "cpu" / f"cpu.cfs_{part}_us" for part in ("quota", "period")]))


def _ratio(files: list[Path]) -> float:
    """Quota over period, in one file or in two; infinity where there is none."""
    try:
        quota, period = " ".join(file.read_text() for file in files).split()
        return int(quota) / int(period) if int(quota) > 0 else float("inf")
    except (OSError, ValueError):
        return float("inf")


def use_threads(count: int) -> int:
    """Compute with ``count`` threads from now on, whatever :func:`settle_threads` would choose; returns it."""
    import torch

    global _settled
    _settled = True
    if torch.get_num_threads() != count:
        torch.set_num_threads(count)
    return count


def keep_threads(before: int) -> bool:
    """Go on with as many threads as before, unless somebody asked for another number; whether it is as many."""
    import torch

    if in_program() and asked_threads() is None:
        use_threads(before)
    return torch.get_num_threads() == before


def settle_threads() -> None:
    """Choose, once in the life of a program, the number of PyTorch's threads: never more than it would take by itself.

    In a process that only imports the project (a notebook, a server) the choice stays with whoever wrote it.
    """
    import torch

    if in_program() and not _settled:
        most = allowed_cores() if _launcher_chose() else torch.get_num_threads()
        use_threads(asked_threads() or min(most, free_threads()))
