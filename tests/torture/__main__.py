"""Trainings and other programs that are killed, starved of disk and lied to until the time is over; none may lose anything.

    python -m tests.torture --minutes 60 [--case SEED] [--how "accelerate launch"] [--add-to FILE]

Small trainings, sampling, a set of faces and analyses are started by the real launchers, by Python, and (most, as that takes a
hundredth of the time) as forks of a process that has imported everything and then runs the program's own main. They are ended
by SIGKILL, SIGTERM and SIGINT at any moment and at any dealing with files, started again as a user would, and compared with a run
that nothing disturbed, bit for bit. Disks fill up and turn read-only (where this machine may mount small ones; elsewhere calls
fail as if), second writers come, clocks go back. Prints a table; what cases that failed left is kept under out/torture.
Exit code: 0 nothing was lost, 1 something was.
"""

from __future__ import annotations

import argparse
import os
import secrets
import shlex
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

from tests.fuzz.ledger import add_to_ledger  # noqa: E402
from tests.torture.bench import Bench, Outcome  # noqa: E402
from tests.torture.cases import run_case  # noqa: E402
from tests.torture.disks import unmount  # noqa: E402
from tests.torture.starts import ROOT, STARTS, warm_up  # noqa: E402

KEPT = ROOT / "out" / "torture"


def table(tallies: dict[tuple[str, str], Outcome]) -> str:
    """Kills and what they came to, a line a way to start and to disturb, and all together."""
    total = Outcome("all", "")
    for key in sorted(tallies):
        add(total, tallies[key])
    rows = [_row(tally) for tally in (*(tallies[key] for key in sorted(tallies)), total)]
    widths = {name: max(8, *(len(str(row[name])) + 2 for row in rows), len(name) + 2) for name in rows[0]}
    head = "".join(f"{name:>{width}}" for name, width in widths.items())
    return "\n".join([head, *("".join(f"{row[name]:>{width}}" for name, width in widths.items()) for row in rows)])


def _row(tally: Outcome) -> dict[str, object]:
    kills = {name: tally.kills[f"SIG{name}"] for name in ("KILL", "TERM", "INT")}
    counts = {"runs": tally.runs, "starts": tally.starts, "resumed": tally.resumed, **kills, "lost": tally.lost}
    ends: dict[str, object] = {
        "tracebacks": tally.tracebacks,
        "differ": tally.differing,
        "orphans": tally.orphans,
        "slowest stop": f"{tally.slowest_stop:.1f} s",
    }
    return {"start": tally.start, "disturbed by": tally.wrong, **counts, **ends}


def add(total: Outcome, one: Outcome) -> None:
    """Put a case to the others."""
    for name in ("runs", "starts", "resumed", "lost", "tracebacks", "differing", "orphans"):
        setattr(total, name, getattr(total, name) + getattr(one, name))
    total.kills += one.kills
    total.slowest_stop = max(total.slowest_stop, one.slowest_stop)


def main(argv: list[str]) -> int:
    """Run the campaign; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.torture", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=60.0, help="in all (default: %(default)s)")
    parser.add_argument("--case", type=int, metavar="SEED", help="only this case")
    parser.add_argument("--how", choices=STARTS, help="only so started (default: mostly forked)")
    parser.add_argument("--add-to", type=Path, metavar="FILE", help="add what came out to this ledger, a JSON line a campaign")
    arguments = parser.parse_args(argv)
    for number in (signal.SIGINT, signal.SIGTERM):  # what is started in the background would hand on that it ignores them
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)
    warm_up()
    folder = Path(tempfile.mkdtemp(prefix="torture-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None))  # noqa: S108
    tallies: dict[tuple[str, str], Outcome] = {}
    started = time.monotonic()
    try:
        bench = Bench(folder)
        while time.monotonic() < started + 60.0 * arguments.minutes:
            seed = arguments.case if arguments.case is not None else secrets.randbits(31)
            outcome = run_case(seed, bench, arguments.how)
            add(tallies.setdefault((outcome.start, outcome.wrong), Outcome(outcome.start, outcome.wrong)), outcome)
            if outcome.problems:
                keep(seed, folder / f"case-{seed}", outcome, arguments.how)
            if arguments.case is not None:
                break
    except KeyboardInterrupt:
        print("stopped by Ctrl-C", file=sys.stderr)
    finally:
        for place in folder.glob("case-*/there"):
            unmount(place)
        shutil.rmtree(folder, ignore_errors=True)
    minutes = (time.monotonic() - started) / 60
    print(table(tallies))
    kills: Counter[str] = sum((tally.kills for tally in tallies.values()), Counter())
    print(f"{sum(kills.values())} kills in {minutes:.1f} minutes, {sum(kills.values()) / minutes:.0f} a minute")
    if arguments.add_to is not None:
        command = shlex.join(["python", "-m", "tests.torture", *argv])
        for tally in tallies.values():
            figures = {"trials": tally.runs, "kills": tally.kills.total(), "failures": tally.lost + tally.tracebacks}
            worst = {"worst_seconds": round(tally.slowest_stop, 2)}
            add_to_ledger(arguments.add_to, f"{tally.start}: {tally.wrong}", command, **figures, **worst)
    return 1 if any(tally.lost or tally.tracebacks for tally in tallies.values()) else 0


def keep(seed: int, place: Path, outcome: Outcome, how: str | None) -> None:
    """Keep what is left of a case that failed, and say how to try it again; signals at other moments may spare it then."""
    unmount(place / "there")
    shutil.rmtree(KEPT / str(seed), ignore_errors=True)
    shutil.copytree(place, KEPT / str(seed), symlinks=True)
    option = f" --how {shlex.quote(how)}" if how else ""
    print(f"case {seed}: kept in {KEPT / str(seed)}; again: python -m tests.torture --case {seed}{option}", file=sys.stderr)
    for problem in outcome.problems:
        print(f"  {problem}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
