"""Train and judge every system of the ladder by the same two programs, rung by rung, and put them into one table."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from configs.cli import command, command_parser
from encoder.experiments.ladder_rungs import RUNGS, SCHEDULES, chosen_rungs

EXAMPLES = f"""examples:
  python -m encoder.ladder --data DATA --schedule short --out out/ladder       about an hour on four CPU cores
  python -m encoder.ladder --data DATA --schedule full --out out/ladder        days on a CPU: use a GPU
  python -m encoder.ladder --data DATA --out out/ladder --only deepface ours   these two; the others' rows stay
  python -m encoder.ladder --data DATA --out out/ladder --max-minutes 2        no network trains for longer than this
  python -m encoder.ladder --data drawn --out out/drawn data.drawn_count=2000  faces that the project draws itself

Run again with the same --out, the finished rungs are kept and an interrupted one is continued. A rung whose weights or
packages cannot be had stands in the table as not run, with the reason, and is tried again the next time.
Files: OUT/SCHEDULE/ladder.md, .csv, .json and .html; encoder.evaluate --report FOLDER --ladder OUT/SCHEDULE/ladder.json
puts the table into the report.
rungs: {", ".join(rung.name for rung in RUNGS)}
exit codes: 0 done, 1 a rung failed for a reason of its own, 2 bad input, 130 stopped by Ctrl-C and 143 by SIGTERM."""


def build_parser() -> argparse.ArgumentParser:
    """The command line; imports nothing heavy."""
    parser = command_parser("python -m encoder.ladder", __doc__, EXAMPLES)
    parser.add_argument("--data", required=True, help='folder with FER-2013, or "drawn"')
    parser.add_argument("--schedule", choices=SCHEDULES, default="short", help="default: %(default)s")
    parser.add_argument("--out", type=Path, required=True, help="folder for runs, figures and the table")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these rungs; the rows of the others stay as they are")
    parser.add_argument("--max-minutes", type=float, help="longest training of one network")
    parser.add_argument("--split", choices=("valid", "test"), default="test", help="judged on (default: %(default)s)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: %(default)s")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings for every training, after its own")
    return parser


def main(argv: Sequence[str]) -> int:
    """Climb; returns the exit code."""
    from configs.cli import UserError
    from configs.source import parse_override

    arguments = build_parser().parse_intermixed_args(argv)
    # --only takes every word that follows; a name has no equals sign, a setting has one.
    words = arguments.only or []
    overrides = [*arguments.overrides, *(word for word in words if "=" in word)]
    rungs = chosen_rungs(None if arguments.only is None else [word for word in words if "=" not in word])
    for override in overrides:
        parse_override(override)
    if arguments.max_minutes is not None and not arguments.max_minutes > 0:
        raise UserError(f"--max-minutes {arguments.max_minutes:g}: give more than 0")
    if arguments.data != "drawn" and not Path(arguments.data).expanduser().exists():
        raise UserError(f"--data {arguments.data}: no such file or folder")
    from encoder.experiments.ladder_runs import Ladder

    ladder = Ladder(
        data=arguments.data,
        schedule=arguments.schedule,
        out=arguments.out / arguments.schedule,
        split=arguments.split,
        device=arguments.device,
        max_minutes=arguments.max_minutes,
        overrides=tuple(overrides),
        command=shlex.join(["python", "-m", "encoder.ladder", *argv]),
    )
    code = ladder.climb(rungs)
    print((ladder.out / "ladder.md").read_text(), end="")
    print(f"written: {ladder.out / 'ladder.md'} (.csv, .json, .html)", file=sys.stderr)
    return code


cli = command(main)


if __name__ == "__main__":
    cli()
