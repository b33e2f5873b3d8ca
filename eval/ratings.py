"""What people saw in a set of generated faces: hit rates, unbiased for favourite answers, and how far the raters agree."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from configs.cli import add_overwrite, command, command_parser
from eval.experiments import options
from eval.output.table import figure_text, markdown, write_files

EXAMPLES = """examples:
  python -m eval.ratings ratings_*.csv --set stimuli/
  python -m eval.ratings ratings/R01.csv ratings/R02.csv --set stimuli/ --out out/pilot

The set was made by python -m generation.dataset --people; the files were saved by its rating_sheet.html, one a rater.

  hit rate        share of the answers to faces of an emotion that name it; "other" is never right
  Hu              unbiased hit rate (Wagner, 1993): hit rate times the share of right ones among the answers of that name
  chance          Hu that is expected when answers do not depend on the faces
  kappa           agreement of the raters on that answer beyond chance (Fleiss, 1971); needs two raters

Intervals are 95 %: of hit rates and means over other faces and other raters, of kappa over other faces.
Where all ratings are alike they have no width, which does not mean certainty."""
_COLUMNS = ("emotion", "faces", "ratings", "hit rate", "Hu", "chance", "kappa")
_LEVELS = ("emotion", "intensity asked", "faces", "ratings", "hit rate", "intensity seen, 1 to 9", "believability, 1 to 7")


def build_parser() -> argparse.ArgumentParser:
    """The command line; imports nothing heavy."""
    parser = command_parser("python -m eval.ratings", __doc__, EXAMPLES)
    parser.add_argument("ratings", nargs="+", type=Path, metavar="CSV", help="files of ratings, one a rater or more in one")
    parser.add_argument("--set", required=True, type=Path, metavar="DIR", help="folder of the set that was rated")
    parser.add_argument("--bootstrap", type=int, default=1000, metavar="N", help=f"resamples ({options.DEFAULT})")
    parser.add_argument("--seed", type=int, default=0, help=f"of the resamples ({options.DEFAULT})")
    options.add_out(parser, "ratings")
    add_overwrite(parser)
    return parser


def main(argv: Sequence[str]) -> int:
    """Read, count, write; returns the exit code."""
    from engine.storage.atomic import require_new

    arguments = build_parser().parse_args(argv)
    options.at_least(arguments, bootstrap=100, seed=0)
    require_new([arguments.out / "ratings.json"], arguments.overwrite)
    from eval.faces.ratings import read_ratings
    from eval.measures.rated import rated_figures

    ratings = read_ratings(arguments.ratings, arguments.set)
    figures = rated_figures(ratings, resamples=arguments.bootstrap, seed=arguments.seed)
    said = shlex.join(["python", "-m", "eval.ratings", *argv])
    content = {"command": said, "bootstrap": arguments.bootstrap, "seed": arguments.seed, **figures}
    rows, levels = _rows(figures), _levels(figures)
    amount = ", ".join(f"{figures[name]} {name}" for name in ("raters", "faces", "ratings"))
    found = f"{amount}; kappa of all answers {figure_text(figures['kappa'])}"
    text = "\n".join([found, "", markdown(_COLUMNS, rows), "", markdown(_LEVELS, levels), "", f"`{said}`", ""])
    lines = [dict(zip(_LEVELS, map(_plain, row), strict=True)) for row in levels]
    write_files(arguments.out, "ratings", content, lines, text)
    for row in (_COLUMNS, *rows):
        cells = [figure_text(cell) if isinstance(cell, dict) else "–" if cell is None else cell for cell in row]
        print(f"{cells[0]:<10} {cells[1]!s:>5} {cells[2]!s:>7}  {cells[3]:<22} {cells[4]:<22} {cells[5]!s:>6}  {cells[6]}")
    print(f"{found}\nwritten to {arguments.out}")
    return 0


def _rows(figures: dict[str, Any]) -> list[list[Any]]:
    names = ("faces", "ratings", "hit_rate", "unbiased_hit_rate", "chance", "kappa")
    return [[emotion, *(each[name] for name in names)] for emotion, each in figures["emotions"].items()]


def _levels(figures: dict[str, Any]) -> list[list[Any]]:
    names = ("emotion", "asked", "faces", "ratings", "hit_rate", "intensity", "believability")
    return [[each[name] for name in names] for each in figures["levels"]]


def _plain(cell: Any) -> Any:
    return cell["value"] if isinstance(cell, dict) else cell


cli = command(main)


if __name__ == "__main__":
    cli()
