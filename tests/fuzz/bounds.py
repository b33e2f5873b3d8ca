"""What one case may take, and how that is measured."""

from __future__ import annotations

import os
import resource
import tempfile
import time
import traceback
from contextlib import suppress
from pathlib import Path

from tests.fuzz.targets import TARGETS, Case

# Of one core, and of memory beyond what the process had before; see SECURITY.md.
MOST_SECONDS, MOST_MEGABYTES = 2.0, 560.0
# Cases write small files by the thousand: where there is such a place, no disk waits for them.
IN_MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108


def memory(reset: bool = False) -> float:
    """Megabytes of this process: now, where ``reset`` lets the highest be counted anew from here, else the highest."""
    if reset:
        with suppress(OSError):  # only Linux can; elsewhere what counts is by how much the highest of all grows
            Path("/proc/self/clear_refs").write_text("5")
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024 / 1e6


def check_measured(name: str, case: Case) -> tuple[str, float, float]:
    """Check one case: what went wrong or nothing, seconds of a core, megabytes."""
    before, started = memory(reset=True), time.process_time()
    problem = ""
    try:
        with tempfile.TemporaryDirectory(dir=IN_MEMORY) as folder:
            TARGETS[name].check(case, Path(folder))
    except Exception:
        problem = traceback.format_exc()
    return problem, time.process_time() - started, memory() - before
