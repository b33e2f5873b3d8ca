"""The options of ``python -m encoder.analyze`` that are about videos; imports nothing heavy."""

from __future__ import annotations

import argparse
from pathlib import Path

from configs.cli import UserError

NAMES = ("track", "timeline", "smooth", "per")
DEFAULT_SMOOTH = 1.0


def add_video_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--track``, ``--timeline``, ``--smooth`` and ``--per``."""
    parser.add_argument(
        "--track",
        choices=("boxes", "faces"),
        help="number the people of a video: by where their boxes lie, or by their faces, too (--embedder)",
    )
    parser.add_argument("--timeline", type=Path, metavar="FOLDER", help="of each video: a plot, smoothed rows, a row a person")
    parser.add_argument(
        "--smooth",
        type=float,
        metavar="S",
        help=f"for --timeline: mean over so many seconds (default: {DEFAULT_SMOOTH:g}; 0: raw)",
    )
    parser.add_argument("--per", choices=("second",), help="into --out: one row a person and second, the mean of its frames")


def check_video_options(arguments: argparse.Namespace, *, by_parts: bool) -> None:
    """Refuse what cannot be meant, and fill in what follows from the rest: people are tracked where something needs it.

    Args:
        by_parts: ``--out`` is a folder of parts.

    Raises:
        UserError: the options contradict each other.
    """
    asked = [f"--{name}" for name in NAMES if getattr(arguments, name) is not None]
    if by_parts and asked:
        raise UserError(f"--out {arguments.out} is a folder of parts, which goes without {asked[0]}; name a table")
    if arguments.smooth is not None and arguments.timeline is None:
        raise UserError("--smooth is for --timeline FOLDER; tables of --out are never smoothed")
    if arguments.per is not None:
        if arguments.out is None:
            raise UserError("--per second changes the rows of --out; add --out FILE")
        without = ("landmarks", "gender", "gallery", "keep")
        taken = [f"--{name}" for name in without if getattr(arguments, name)]
        if taken:
            raise UserError(f"--per second has no column for {taken[0]}; leave one of them out")
    if arguments.smooth is None:
        arguments.smooth = DEFAULT_SMOOTH
    elif not 0 <= arguments.smooth <= 3600:
        raise UserError(f"--smooth must lie between 0 and 3600 seconds, got {arguments.smooth:g}")
    if arguments.track is None and (arguments.timeline is not None or arguments.per is not None):
        arguments.track = "boxes"
