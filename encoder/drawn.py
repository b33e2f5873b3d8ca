"""Faces that the project draws itself: the data set that needs no download, with exactly known emotions and action units.

Face ``i`` is a pure function of (seed, i), whatever the batch: who it is, how it is seen, and its action units.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from configs.cli import UserError, add_overwrite, command, command_parser
from encoder.drawing.action_units import parse_action_units
from encoder.drawing.faces import draw_faces
from encoder.drawing.stimuli import SHEET, TABLE, Stimuli, contact_sheet, write_stimuli
from encoder.emotions import EMOTION_NAMES, NUM_EMOTIONS, Emotion, parse_emotion
from encoder.pictures.face_images import png_bytes

EXAMPLES = """examples:
  python -m encoder.drawn
  python -m encoder.drawn --count 70 --seed 3 --size 96 --out faces.png
  python -m encoder.drawn --strip --out strip.png          one row an emotion, intensity rising from 0 to 1
  python -m encoder.drawn --per-emotion 100 --out stimuli/
  python -m encoder.drawn --per-emotion 20 --emotions fear,anger --intensities 0.25,0.5,1 --size 512 --out stimuli/
  python -m encoder.drawn --au AU4=0.8,AU7=0.5 --count 10 --out frowns/
  python -m encoder.drawn --per-emotion 10 --emotions fear --au AU5=0 --out fear-without-raised-lids/

With --per-emotion or --au the faces are files: one a face, faces.csv with all action units of each, a contact sheet. Person i
is the same in all emotions and at all intensities."""
_SIDES = {False: 64, True: 256}
# What each way of drawing does not look at.
_OF_FILES = ("emotions", "intensities", "variation")


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = command_parser(
        "python -m encoder.drawn",
        "Draw faces from action units: a contact sheet, or files with a table of their facts.",
        EXAMPLES,
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--strip", action="store_true", help="one person, intensity 0 to 1 for each emotion")
    what.add_argument("--per-emotion", type=int, metavar="N", help="files: N people, each with every emotion")
    parser.add_argument("--au", metavar="AU=X,…", help="files: these action units, 0 to 1, alone or in place of an emotion's own")
    parser.add_argument("--emotions", metavar="NAMES", help="of the files, such as fear,colère (default: all seven)")
    parser.add_argument("--intensities", metavar="X,…", help="of the files, above 0 to 1 (default: 1)")
    parser.add_argument(
        "--variation", type=float, metavar="X", help="of the files: 0 controlled to 1 as photographs (default: 0)"
    )
    parser.add_argument("--count", type=int, metavar="N", help="faces of the sheet (default: 49); people of --au (default: 8)")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--size", type=int, help="pixels of one face, 16 to 512 (default: 64; of files 256)")
    parser.add_argument("--out", type=Path, help="file of the sheet (default: drawn.png); folder of the files (default: drawn)")
    add_overwrite(parser)
    return parser


def main(argv: Sequence[str]) -> int:
    """Draw and write; returns the exit code."""
    from engine.storage.atomic import require_new

    arguments = build_parser().parse_args(argv)
    files = arguments.per_emotion is not None or arguments.au is not None
    arguments.size = _SIDES[files] if arguments.size is None else arguments.size
    if not files:
        for name in _OF_FILES:
            if getattr(arguments, name) is not None:
                raise UserError(f"--{name}: does nothing without --per-emotion or --au; add one, or leave it out")
        out = arguments.out or Path("drawn.png")
        require_new([out], arguments.overwrite)
        return _sheet(arguments, out)
    asked, folder = _stimuli(arguments), arguments.out or Path("drawn")
    require_new([folder / TABLE], arguments.overwrite)
    rows = write_stimuli(asked, folder)
    print(f"{folder}: {len(rows)} faces of {asked.people} people, {TABLE} and {SHEET}")
    return 0


def _sheet(arguments: argparse.Namespace, out: Path) -> int:
    from engine.storage.atomic import atomic_write_bytes

    if arguments.strip:
        levels = 8
        if arguments.count is not None:
            raise UserError("--count: does nothing with --strip; leave it out")
        faces = draw_faces(
            NUM_EMOTIONS * levels,
            seed=arguments.seed,
            size=arguments.size,
            distribution=np.repeat(np.eye(NUM_EMOTIONS), levels, axis=0),
            intensity=np.tile(np.linspace(0, 1, levels), NUM_EMOTIONS),
            identities=np.full(NUM_EMOTIONS * levels, arguments.seed),
            variation=0.0,
        )
        rows, columns = "rows", levels
    else:
        faces = draw_faces(49 if arguments.count is None else arguments.count, seed=arguments.seed, size=arguments.size)
        rows, columns = "columns", NUM_EMOTIONS
    atomic_write_bytes(out, png_bytes(contact_sheet(list(faces.images), columns, 2 * arguments.size)))
    print(f"{out}: {rows} are {', '.join(EMOTION_NAMES)}")
    return 0


def _stimuli(arguments: argparse.Namespace) -> Stimuli:
    """What the command line asks for.

    Raises:
        UserError: it cannot be drawn, or an option would do nothing.
    """
    units = {} if arguments.au is None else parse_action_units(arguments.au)
    people = arguments.per_emotion
    if people is None:
        people = 8 if arguments.count is None else arguments.count
        for name in ("emotions", "intensities"):
            if getattr(arguments, name) is not None:
                raise UserError(f"--{name}: does nothing without --per-emotion; add it, or leave --{name} out")
        emotions: tuple[Emotion, ...] = ()
    else:
        if arguments.count is not None:
            raise UserError("--count: does nothing with --per-emotion, which says how many people; leave it out")
        names = "all" if arguments.emotions is None else arguments.emotions
        emotions = tuple(Emotion) if names == "all" else tuple(dict.fromkeys(map(parse_emotion, names.split(","))))
    return Stimuli(
        people=people,
        emotions=emotions,
        intensities=(1.0,) if arguments.intensities is None else _numbers(arguments.intensities),
        units=units,
        seed=arguments.seed,
        size=arguments.size,
        variation=arguments.variation or 0.0,
    )


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UserError(f"--intensities: write numbers such as 0.25,0.5,1, got {text!r}") from None


cli = command(main)


if __name__ == "__main__":
    cli()
