"""What the benchmarks share: options, contestants timed by turns, the machine, and a report as JSON and as a table."""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from configs.cli import add_overwrite
from engine.storage.atomic import write_json
from eval.output.table import aligned

WARM_UPS = 3
LEAST_ROUNDS = 7
DEFAULT = "default: %(default)s"


def add_options(parser: argparse.ArgumentParser, name: str, *, rounds: int, seed: str, least: str = "") -> None:
    """``--threads``, ``--rounds``, ``--seed`` and ``--out``; ``seed`` and ``least`` go into their help."""
    parser.add_argument("--threads", type=int, help="default: as many as cores are idle")
    parser.add_argument("--rounds", type=int, default=rounds, help=f"timed rounds{least} ({DEFAULT})")
    parser.add_argument("--seed", type=int, default=0, help=f"{seed} ({DEFAULT})")
    add_out(parser, name)


def add_out(parser: argparse.ArgumentParser, name: str) -> None:
    """``--out`` and ``--overwrite``; the program calls :func:`engine.storage.atomic.require_new` before it measures."""
    parser.add_argument("--out", type=Path, default=Path(f"out/benchmark-{name}.json"), help=DEFAULT)
    add_overwrite(parser)


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


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    return [aligned(row, columns, first=28) for row in (columns, *rows)]


def absent(machine: Mapping[str, str], *peers: str) -> list[str]:
    """A line for each peer that is not installed."""
    missing = (peer for peer in peers if peer not in machine)
    return [f"{peer} is not installed and therefore absent: pip install 'mimique[bench]'" for peer in missing]


def time_by_turns(
    contestants: Mapping[str, Callable[[], object]],
    *,
    rounds: int,
    least_seconds: float = 0.02,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Seconds of one call of each contestant, one value a round. By turns, whatever slows the machine slows all of them.

    Every contestant is called ``WARM_UPS`` times first. In each round all take their turn, each round beginning with the
    next one; a turn repeats the call until it has taken ``least_seconds``, as a clock's noise is not to be the measurement.
    """
    from tqdm import tqdm

    repeats = {}
    for name, call in contestants.items():
        for _ in range(WARM_UPS):
            started = clock()
            call()
        repeats[name] = max(1, round(least_seconds / max(clock() - started, 1e-9)))
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    names = list(contestants)
    for number in tqdm(range(rounds), desc="rounds", delay=1, leave=False, disable=None):
        first = number % len(names) if names else 0
        for name in names[first:] + names[:first]:
            started = clock()
            for _ in range(repeats[name]):
                contestants[name]()
            seconds[name].append((clock() - started) / repeats[name])
    return seconds


def summarise(seconds: list[float], items: int) -> dict[str, Any]:
    """Median, quartiles and what they make of ``items`` done per call."""
    low, median, high = statistics.quantiles(seconds, n=4, method="inclusive") if len(seconds) > 1 else seconds * 3
    return {
        "seconds": [float(f"{value:.4g}") for value in seconds],
        "median_ms": float(f"{1000 * median:.4g}"),
        "quartiles_ms": [float(f"{1000 * low:.4g}"), float(f"{1000 * high:.4g}")],
        "per_second": float(f"{items / median:.4g}"),
    }


def held_against(ratio: float, target: float, *, at_most: bool = False) -> dict[str, Any]:
    """A ratio with its target and whether that is met: for the JSON, what is printed says what was measured alone."""
    return {"ratio": round(ratio, 2), "target": target, "met": ratio <= target if at_most else ratio >= target}


def finish(report: Mapping[str, Any], lines: Sequence[str], out: Path, *, as_json: bool = False) -> int:
    """Write the report, print its lines (or the JSON); exit code 0, whether or not targets are met."""
    write_json(out, report)
    print(json.dumps(report, indent=2) if as_json else "\n".join([*lines, "", f"written: {out}"]))
    return 0
