"""Pictures for the report on generated faces: contact sheets, and pairs of a made face and its nearest training face."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from engine.storage.provenance import png
from eval.measures.memorisation import Nearest

_TILE, _GAP, _HEAD = 96, 6, 30


def _tile(image: npt.NDArray[np.uint8]):  # type: ignore[no-untyped-def]
    from PIL import Image

    return Image.fromarray(image).resize((_TILE, _TILE), Image.Resampling.BICUBIC)


def contact_sheet(
    images: npt.NDArray[np.uint8], title: str, texts: Mapping[str, str] | None = None, *, columns: int = 12
) -> bytes:
    """(N, S, S) generated faces on one PNG that says so, in its heading and, with ``texts``, in its metadata."""
    from PIL import Image, ImageDraw, ImageFont

    rows = max(1, -(-len(images) // columns))
    sheet = Image.new("L", (_GAP + columns * (_TILE + _GAP), _HEAD + rows * (_TILE + _GAP)), 255)
    ImageDraw.Draw(sheet).text((_GAP, 7), f"{title} - AI-generated", fill=0, font=ImageFont.load_default(15))
    for index, image in enumerate(images):
        place = (_GAP + index % columns * (_TILE + _GAP), _HEAD + index // columns * (_TILE + _GAP))
        sheet.paste(_tile(image), place)
    return png(sheet, texts or {})


def closest_pairs(
    made: npt.NDArray[np.uint8], train: npt.NDArray[np.uint8], found: Nearest, titles: Sequence[str], *, count: int = 24
) -> bytes:
    """The made faces nearest to a training face, each above that face, as one PNG. It shows real people: keep it private."""
    from PIL import Image, ImageDraw, ImageFont

    columns, caption = 8, 16
    chosen = np.argsort(found.distance, kind="stable")[:count]
    rows = -(-len(chosen) // columns)
    step = 2 * _TILE + _GAP + 2 * caption
    sheet = Image.new("L", (_GAP + columns * (_TILE + _GAP), _HEAD + rows * step), 255)
    draw = ImageDraw.Draw(sheet)
    draw.text(
        (_GAP, 7),
        "Above: generated. Below: nearest REAL training face, or the one whose mirror image is. Do not publish.",
        fill=0,
        font=ImageFont.load_default(15),
    )
    for place, index in enumerate(chosen):
        x, y = _GAP + place % columns * (_TILE + _GAP), _HEAD + place // columns * step
        sheet.paste(_tile(made[index]), (x, y))
        sheet.paste(_tile(train[found.row[index]]), (x, y + _TILE + 2))
        draw.text(
            (x, y + 2 * _TILE + 4), f"{titles[index]} {found.distance[index]:.3g}", fill=60, font=ImageFont.load_default(11)
        )
    return png(sheet, {}, kind="paired")
