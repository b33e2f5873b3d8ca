"""Where a benchmark ran: without this a speed means little."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from pathlib import Path


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def describe_machine(packages: Iterable[str]) -> dict[str, str]:
    """Processor, system, and the versions of Python and of those packages that are installed."""
    from importlib.metadata import PackageNotFoundError, version

    processor = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").is_file():
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        processor = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), processor)
    found = {"python": platform.python_version(), "processor": processor, "system": platform.system()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
