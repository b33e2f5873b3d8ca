"""Small charts, one an emotion: what two judges read at rising intensity."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

# Drawn larger and then reduced, which smooths the lines.
_ZOOM = 3
_WIDTH, _HEIGHT, _COLUMNS = 260, 210, 3
_LEFT, _RIGHT, _TOP, _BOTTOM = 38, 10, 30, 34
_COLOURS = {"encoder": "#1f5fa8", "judge": "#c2571a"}
_NAMES = {"encoder": "encoder", "judge": "second judge"}


def intensity_plot(levels: Sequence[float], figures: Mapping[str, Mapping[str, Any]], caption: str) -> bytes:
    """PNG of the mean probability at each level with its 95 % interval.

    Args:
        figures: per emotion and judge (``encoder``, ``judge``) the ``mean`` and ``interval`` at each level.
    """
    from PIL import Image, ImageDraw, ImageFont

    rows = -(-len(figures) // _COLUMNS)
    width, height = max(min(_COLUMNS, len(figures)), 2) * _WIDTH, rows * _HEIGHT + 46
    image = Image.new("RGB", (width * _ZOOM, height * _ZOOM), "white")
    draw = ImageDraw.Draw(image, "RGBA")
    small, bold = (ImageFont.load_default(size * _ZOOM) for size in (11, 13))

    def text(x: float, y: float, content: str, anchor: str, font: Any = small, fill: str = "#333333") -> None:
        draw.text((x * _ZOOM, y * _ZOOM), content, fill=fill, font=font, anchor=anchor)

    for number, (emotion, judges) in enumerate(figures.items()):
        x0, y0 = number % _COLUMNS * _WIDTH + _LEFT, number // _COLUMNS * _HEIGHT + _TOP
        wide, high = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM

        def place(level: float, value: float, x0: float = x0, y0: float = y0, w: float = wide, h: float = high) -> Any:
            return (x0 + level * w) * _ZOOM, (y0 + (1.0 - value) * h) * _ZOOM

        text(x0 + wide / 2, y0 - 8, emotion, "ms", bold)
        for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
            draw.line([place(0, tick), place(1, tick)], fill="#dddddd", width=_ZOOM)
            text(x0 - 5, y0 + (1 - tick) * high, f"{tick:g}", "rm")
        for tick in (0.0, 0.5, 1.0):
            text(x0 + tick * wide, y0 + high + 4, f"{tick:g}", "mt")
        text(x0 + wide / 2, y0 + high + 17, "intensity", "mt")
        for judge, row in judges.items():
            band = [place(level, high) for level, (_, high) in zip(levels, row["interval"], strict=True)]
            band += [place(level, low) for level, (low, _) in reversed(list(zip(levels, row["interval"], strict=True)))]
            draw.polygon(band, fill=_COLOURS[judge] + "30")
            points = [place(level, mean) for level, mean in zip(levels, row["mean"], strict=True)]
            draw.line(points, fill=_COLOURS[judge], width=2 * _ZOOM, joint="curve")
            for x, y in points:
                draw.ellipse((x - 2 * _ZOOM, y - 2 * _ZOOM, x + 2 * _ZOOM, y + 2 * _ZOOM), fill=_COLOURS[judge])
    x = float(_LEFT)
    for judge, colour in _COLOURS.items():
        draw.line([(x * _ZOOM, (height - 32) * _ZOOM), ((x + 18) * _ZOOM, (height - 32) * _ZOOM)], fill=colour, width=3 * _ZOOM)
        text(x + 24, height - 32, _NAMES[judge], "lm")
        x += 40 + 6.5 * len(_NAMES[judge])
    text(_LEFT, height - 14, f"probability of the emotion; {caption}", "lm")
    buffer = io.BytesIO()
    image.resize((2 * width, 2 * height), Image.Resampling.LANCZOS).save(buffer, "PNG")
    return buffer.getvalue()
