"""What raters of blind pairs get: a page, sheets of pictures, and a form for the answers. Nothing in it tells whose a face is."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from engine.storage.atomic import atomic_write_bytes, atomic_write_text, make_folder
from engine.storage.provenance import MARK, png
from eval.blind.answers import FIELDS, LEFT, RIGHT, TIE
from eval.blind.key import Pair
from generation.kit.rating_sheet import offline_page

if TYPE_CHECKING:
    from PIL.Image import Image

RATERS, PAGE, FORM, SHEETS = "raters", "pairs.html", "answers.csv", "pairs_{:02d}.png"
# A sheet is read in one look, and faces on it are as large as the generator makes them or larger.
A_SHEET, COLUMNS, TILE = 10, 2, 224
_TEMPLATE = Path(__file__).with_name("templates") / "pairs.html"


def write_material(folder: Path, pairs: Sequence[Pair], name: str, *, ties: bool) -> list[Path]:
    """Write the page, the sheets and the form of the pairs called ``name``, and remove those of former pairs. Their files.

    Raises:
        UserError: the folder cannot be written.
    """
    make_folder(folder)
    for former in folder.glob(SHEETS.format(0).replace("00", "*")):
        former.unlink()
    atomic_write_text(folder / PAGE, page(pairs, name, ties=ties))
    rows = [f"{number},,{name}" for number in range(1, len(pairs) + 1)]
    atomic_write_text(folder / FORM, "\n".join([",".join(FIELDS[:3]), *rows, ""]))
    written = [folder / PAGE, folder / FORM]
    for start in range(0, len(pairs), A_SHEET):
        written.append(folder / SHEETS.format(start // A_SHEET + 1))
        atomic_write_bytes(written[-1], png(sheet(pairs[start : start + A_SHEET], start + 1, name), {}))
    return written


def page(pairs: Sequence[Pair], name: str, *, ties: bool) -> str:
    """The page on which one judges pair after pair, as HTML."""
    # Without the texts of the files, which name seed, settings and weights.
    shown = [
        {"emotion": pair.emotion, "faces": [b64encode(png(face.image, {})).decode("ascii") for face in pair.shown]}
        for pair in pairs
    ]
    return offline_page(
        _TEMPLATE, {"set": name, "fields": FIELDS, "sides": (LEFT, RIGHT), "tie": TIE if ties else "", "pairs": shown}
    )


def sheet(pairs: Sequence[Pair], first: int, name: str) -> Image:
    """Pairs in two columns, each under its number and what was asked of both faces."""
    from PIL import Image, ImageDraw, ImageFont

    margin, gap, head, title = 20, 6, 26, 40
    wide, high = 2 * TILE + gap + margin, TILE + head + margin // 2
    made = Image.new("RGB", (margin + COLUMNS * wide, title + -(-len(pairs) // COLUMNS) * high), "white")
    draw, large, small = ImageDraw.Draw(made), ImageFont.load_default(18), ImageFont.load_default(15)
    said = f"{MARK}  -  set {name}  -  which face of each pair is more believable, the left or the right one?"
    draw.text((margin, 10), said, fill="black", font=small)
    for place, pair in enumerate(pairs):
        x, y = margin + place % COLUMNS * wide, title + place // COLUMNS * high
        draw.text((x, y), f"{first + place}", fill="black", font=large)
        draw.text((x + TILE + gap / 2, y + 2), pair.emotion, fill="black", font=small, anchor="ma")
        for side, face in enumerate(pair.shown):
            picture = Image.fromarray(face.image).resize((TILE, TILE), Image.Resampling.BICUBIC)
            made.paste(picture, (x + side * (TILE + gap), y + head))
    return made
