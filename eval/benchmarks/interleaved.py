"""Timing of several contestants by turns in one process, so that whatever slows the machine slows all of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

WARM_UPS = 3
LEAST_ROUNDS = 7


def time_by_turns(
    contestants: Mapping[str, Callable[[], object]],
    *,
    rounds: int,
    least_seconds: float = 0.02,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Seconds of one call of each contestant, one value a round.

    Every contestant is called ``WARM_UPS`` times first. In each round all take their turn, each round beginning with the
    next one; a turn repeats the call until it has taken ``least_seconds``, as a clock's noise is not to be the measurement.
    """
    repeats = {}
    for name, call in contestants.items():
        for _ in range(WARM_UPS):
            started = clock()
            call()
        repeats[name] = max(1, round(least_seconds / max(clock() - started, 1e-9)))
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    names = list(contestants)
    for number in range(rounds):
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
    """A ratio with its target and whether that is met."""
    return {"ratio": round(ratio, 2), "target": target, "met": ratio <= target if at_most else ratio >= target}
