"""A long campaign: broken inputs of every kind until the time is over, with bounds on the time and memory of each.

    python -m tests.fuzz --minutes 60 [--only pictures] [--add-to FILE]

Prints a line a target: trials, failures, worst time and worst memory. Cases are tried in forks of this process, a few dozen each,
so that one which ends its process is a failure like others. What failed is stored under tests/fuzz/found, and is a test from then
on. Exit code: 0 nothing failed, 1 something did.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import os
import secrets
import shlex
import signal
import sys
import tempfile
import time
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):  # threads do not survive a fork
    os.environ[variable] = "1"

from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings  # noqa: E402

from tests.fuzz.bounds import IN_MEMORY, MOST_MEGABYTES, MOST_SECONDS, check_measured  # noqa: E402
from tests.fuzz.found import case_bytes, read_case, store_case  # noqa: E402
from tests.fuzz.ledger import add_to_ledger  # noqa: E402
from tests.fuzz.targets import TARGETS, Case  # noqa: E402

_AT_ONCE = 200
_HANGS_AFTER = 120


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

    def add(self, other: Tally) -> None:
        """Put what others came to, to it."""
        self.trials += other.trials
        self.failures += other.failures
        self.seconds, self.megabytes = max(self.seconds, other.seconds), max(self.megabytes, other.megabytes)


def try_one(name: str, case: Case, tally: Tally) -> None:
    """Check one case and its time and memory; a failure is stored and printed."""
    problem, seconds, megabytes = check_measured(name, case)
    if not problem and seconds > MOST_SECONDS:  # a machine shared with others is slow at times: what counts is the faster of two
        problem, again, more = check_measured(name, case)
        seconds, megabytes = min(seconds, again), max(megabytes, more)
    tally.add(Tally(1, 0, seconds, megabytes))
    if not problem and (seconds > MOST_SECONDS or megabytes > MOST_MEGABYTES):
        problem = f"took {seconds:.2f} s and {megabytes:.0f} MB\n"
    if problem:
        report(name, case, problem, tally)


def report(name: str, case: Case, problem: str, tally: Tally) -> None:
    """Store and print a case that failed."""
    tally.failures += 1
    print(f"{name}: stored as {store_case(name, case)}\n{problem}", file=sys.stderr, flush=True)


def run_some(name: str, number: int, until: float, notes: Path) -> Tally:
    """Try up to ``_AT_ONCE`` cases that follow from ``number``; ``notes`` has the tally; beside it lies the case under trial."""
    tally = Tally()

    @seed(number)
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
            notes.with_suffix(".case").write_bytes(case_bytes(name, case))
            signal.alarm(_HANGS_AFTER)
            try_one(name, case, tally)
            signal.alarm(0)
            notes.write_text(json.dumps(asdict(tally)))

    trial()
    return tally


def run_forked(name: str, until: float, notes: Path) -> Tally:
    """The same in a process of its own, with cases that chance draws. One that is ended by a signal has met a failure."""
    number = secrets.randbits(63)
    notes.write_text(json.dumps(asdict(Tally())))
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if not child:
        code = 1
        try:
            faulthandler.register(signal.SIGALRM, chain=True)  # says where it hangs, and ends
            run_some(name, number, until, notes)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    try:
        _, status = os.waitpid(child, 0)
    except KeyboardInterrupt:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        status = 0
    tally = Tally(**json.loads(notes.read_text()))
    if status:
        tally.trials += 1
        ended = os.waitstatus_to_exitcode(status)
        problem = f"its process ended with {ended}, at one of the cases that follow from {number}\n"
        report(name, read_case(notes.with_suffix(".case"))[1], problem, tally)
    return tally


def main(argv: list[str]) -> int:
    """Run the campaign; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=60.0, help="in all (default: %(default)s)")
    parser.add_argument("--only", choices=sorted(TARGETS), help="one target instead of all")
    parser.add_argument("--add-to", type=Path, metavar="FILE", help="add what came out to this ledger; see tests/fuzz/ledger.py")
    arguments = parser.parse_args(argv)
    names = [arguments.only] if arguments.only else list(TARGETS)
    tallies = {name: Tally() for name in names}
    with tempfile.TemporaryDirectory(dir=IN_MEMORY) as folder:
        notes = Path(folder) / "tally.json"
        try:
            for name in names:  # what is loaded once is no case's memory
                run_some(name, 0, time.monotonic() + 5.0, notes)
            until = time.monotonic() + 60.0 * arguments.minutes
            while time.monotonic() < until:
                for name in names:
                    tallies[name].add(run_forked(name, until, notes))
        except KeyboardInterrupt:
            print("stopped by Ctrl-C", file=sys.stderr)
    for name, tally in tallies.items():
        print(tally.line(name))
        if arguments.add_to is not None and tally.trials:
            worst = {"worst_seconds": round(tally.seconds, 2), "worst_megabytes": round(tally.megabytes)}
            command = shlex.join(["python", "-m", "tests.fuzz", *(("--only", name) if arguments.only else ())])
            add_to_ledger(arguments.add_to, f"broken {name}", command, trials=tally.trials, failures=tally.failures, **worst)
    return 1 if any(tally.failures for tally in tallies.values()) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
