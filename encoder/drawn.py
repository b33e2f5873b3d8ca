"""Faces that the project draws itself: the data set that needs no download, with exactly known emotions.

Face ``i`` is a pure function of (seed, i), whatever the batch: who it is, how it is seen, and its action units.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from configs.cli import add_overwrite, command, command_parser
from encoder.drawing.faces import DrawnFaces, draw_faces
from encoder.emotions import EMOTION_NAMES, NUM_EMOTIONS
from encoder.pictures.face_images import png_bytes

EXAMPLES = """examples:
  python -m encoder.drawn
  python -m encoder.drawn --count 70 --seed 3 --size 96 --out faces.png
  python -m encoder.drawn --strip --out strip.png          one row an emotion, intensity rising from 0 to 1"""


def contact_sheet(faces: DrawnFaces, columns: int, zoom: int = 2) -> bytes:
    """PNG of the faces row by row."""
    from PIL import Image

    size = faces.images.shape[1] * zoom
    sheet = np.full((-(-len(faces.images) // columns), size + 2, columns, size + 2), 255, np.uint8)
    for number, image in enumerate(faces.images):
        tile = Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC)
        sheet[number // columns, :size, number % columns, :size] = tile
    return png_bytes(sheet.reshape(-1, columns * (size + 2)))


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = command_parser(
        "python -m encoder.drawn", "Draw a contact sheet of faces: the seven emotions in turn, one a column.", EXAMPLES
    )
    parser.add_argument("--count", type=int, default=49, help="faces on the sheet (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--size", type=int, default=64, help="pixels of one face (default: %(default)s)")
    parser.add_argument("--strip", action="store_true", help="one person, intensity 0 to 1 for each emotion")
    parser.add_argument("--out", type=Path, default=Path("drawn.png"), help="default: %(default)s")
    add_overwrite(parser)
    return parser


def main(argv: Sequence[str]) -> int:
    """Draw and write the sheet."""
    from engine.storage.atomic import atomic_write_bytes, require_new

    arguments = build_parser().parse_args(argv)
    require_new([arguments.out], arguments.overwrite)
    if arguments.strip:
        levels = 8
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
        faces = draw_faces(arguments.count, seed=arguments.seed, size=arguments.size)
        rows, columns = "columns", NUM_EMOTIONS
    atomic_write_bytes(arguments.out, contact_sheet(faces, columns))
    print(f"{arguments.out}: {rows} are {', '.join(EMOTION_NAMES)}")
    return 0


cli = command(main)


if __name__ == "__main__":
    cli()
