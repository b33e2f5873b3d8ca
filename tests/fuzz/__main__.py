"""A long campaign: broken inputs of every kind until the time is over, with bounds on the time and memory of each.

    python -m tests.fuzz --minutes 60 [--only pictures]

Prints a line a target: trials, failures, worst time and worst memory. What failed is stored under tests/fuzz/found, and is a
test from then on. Exit code: 0 nothing failed, 1 something did.
"""

from __future__ import annotations

import argparse
import resource
import secrets
import sys
import tempfile
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings

from tests.fuzz.found import store_case
from tests.fuzz.targets import TARGETS, Case

# Of one core, and of memory beyond what the process had before; see SECURITY.md.
MOST_SECONDS, MOST_MEGABYTES = 2.0, 560.0
_AT_ONCE = 50


@dataclass
class Tally:
    """What a campaign against one target has come to."""

    trials: int = 0
    failures: int = 0
    seconds: float = 0.0
    megabytes: float = 0.0

    def line(self, name: str) -> str:
        """As it is printed."""
        worst = f"worst {self.seconds:.2f} s of a core, {self.megabytes:.0f} MB more memory"
        return f"{name:<10}{self.trials:>9,} trials {self.failures:>4} failures   {worst}"


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


def try_one(name: str, case: Case, tally: Tally) -> None:
    """Check one case and its time and memory; a failure is stored and printed."""
    before, started = memory(reset=True), time.process_time()
    problem = ""
    try:
        with tempfile.TemporaryDirectory() as folder:
            TARGETS[name].check(case, Path(folder))
    except Exception:
        problem = traceback.format_exc()
    seconds = time.process_time() - started
    megabytes = memory() - before
    tally.trials += 1
    tally.seconds, tally.megabytes = max(tally.seconds, seconds), max(tally.megabytes, megabytes)
    if not problem and (seconds > MOST_SECONDS or megabytes > MOST_MEGABYTES):
        problem = f"took {seconds:.2f} s and {megabytes:.0f} MB\n"
    if problem:
        tally.failures += 1
        print(f"{name}: stored as {store_case(name, case)}\n{problem}", file=sys.stderr, flush=True)


def run_some(name: str, tally: Tally, until: float) -> None:
    """Try up to ``_AT_ONCE`` new cases."""

    @seed(secrets.randbits(63))
    @settings(
        max_examples=_AT_ONCE,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        verbosity=Verbosity.quiet,
        suppress_health_check=list(HealthCheck),
    )
    @given(TARGETS[name].cases)
    def trial(case: Case) -> None:
        if time.monotonic() < until:
            try_one(name, case, tally)

    trial()


def main(argv: list[str]) -> int:
    """Run the campaign; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0, help="in all (default: %(default)s)")
    parser.add_argument("--only", choices=sorted(TARGETS), help="one target instead of all")
    arguments = parser.parse_args(argv)
    names = [arguments.only] if arguments.only else list(TARGETS)
    tallies = {name: Tally() for name in names}
    # What is loaded once is no case's memory.
    for name in names:
        run_some(name, Tally(), time.monotonic() + 5.0)
    until = time.monotonic() + 60.0 * arguments.minutes
    while time.monotonic() < until:
        for name in names:
            run_some(name, tallies[name], until)
    for name in names:
        print(tallies[name].line(name))
    return 1 if any(tally.failures for tally in tallies.values()) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
