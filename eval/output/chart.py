"""Small charts in one PNG: lines with intervals, the panels of a row on one scale of y."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.storage.atomic import atomic_write_bytes

WIDTH, HEIGHT, LEFT, TOP, GAP = 300, 190, 64, 64, 28
TITLE, LINE = 26, 15
# Told apart by people with any colour vision (Okabe & Ito, 2008).
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
INK, GREY, PALE = "#222222", "#777777", "#e4e4e4"

Point = tuple[float, float, float, float]


@dataclass(frozen=True)
class Panel:
    """One chart.

    Attributes:
        lines: per name its points (x, y, low, high).
        ticks: names, of one or more lines, of the places 0, 1, 2, … along the x axis. Without them x is a number, and the
            panels of a row share its range.
    """

    title: str
    y_label: str
    x_label: str
    lines: Mapping[str, Sequence[Point]]
    ticks: Sequence[str] = ()


def draw_panels(rows: Sequence[Sequence[Panel]], path: Path, *, title: str) -> None:
    """Write rows of panels as a PNG. Titles that a row has in common with the one above it are not repeated."""
    from PIL import Image, ImageDraw, ImageFont

    columns = max(len(row) for row in rows)
    fonts = {size: ImageFont.load_default(size) for size in (12, 13, 15)}
    wide = max(columns * (WIDTH + GAP), round(fonts[15].getlength(title)) + GAP)
    tops, bottom = _places(rows)
    size = (LEFT + wide, bottom + 44)
    picture = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(picture)
    draw.text((LEFT, 10), title, fill=INK, font=fonts[15])
    names = list(dict.fromkeys(name for row in rows for panel in row for name in panel.lines))
    for number, row in enumerate(rows):
        points = [point for panel in row for line in panel.lines.values() for point in line]
        shared = _range([point[0] for point in points])
        y_range = _range([value for point in points for value in point[1:]], above=0.2)
        for column, panel in enumerate(row):
            place = (LEFT + column * (WIDTH + GAP), tops[number])
            x_range = (-0.5, len(panel.ticks) - 0.5) if panel.ticks else shared
            _draw_panel(draw, place, panel, x_range, y_range, names, fonts, labelled=column == 0)
            if _titled(rows, number):
                draw.text((place[0] + WIDTH / 2, place[1] - 14), panel.title, fill=INK, font=fonts[13], anchor="mm")
            if number == len(rows) - 1:
                middle = (place[0] + WIDTH / 2, bottom - GAP + 30)
                draw.text(middle, panel.x_label, fill=GREY, font=fonts[12], anchor="mm")
    x = float(LEFT)
    for name, colour in zip(names, COLOURS * len(names), strict=False):
        draw.line((x, size[1] - 14, x + 18, size[1] - 14), fill=colour, width=3)
        draw.text((x + 24, size[1] - 14), name, fill=INK, font=fonts[13], anchor="lm")
        x += 44 + draw.textlength(name, font=fonts[13])
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write_bytes(path, buffer.getvalue())


def _titled(rows: Sequence[Sequence[Panel]], number: int) -> bool:
    return number == 0 or [panel.title for panel in rows[number]] != [panel.title for panel in rows[number - 1]]


def _places(rows: Sequence[Sequence[Panel]]) -> tuple[list[int], int]:
    """The upper edge of each row of charts, and where the next one would begin."""
    tops, y = [], TOP
    for number, row in enumerate(rows):
        y += TITLE if number and _titled(rows, number) else 0
        tops.append(y)
        lines = max((tick.count("\n") + 1 for panel in row for tick in panel.ticks), default=1)
        y += HEIGHT + GAP + (lines - 1) * LINE
    return tops, y


def _range(values: Sequence[float], above: float = 0.08) -> tuple[float, float]:
    """Ends of an axis; ``above`` is the share that stays free at the top, for the label."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    span = high - low or 1.0
    return low - 0.08 * span, high + above * span


def _ticks(low: float, high: float) -> list[float]:
    raw = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * m for m in (1, 2, 2.5, 5, 10) if power * m >= raw * 0.999)
    return [step * k for k in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _draw_panel(
    draw: Any,
    place: tuple[float, float],
    panel: Panel,
    x_range: tuple[float, float],
    y_range: tuple[float, float],
    names: Sequence[str],
    fonts: Mapping[int, Any],
    *,
    labelled: bool,
) -> None:
    left, top = place

    def at(x: float, y: float) -> tuple[float, float]:
        across = (x - x_range[0]) / (x_range[1] - x_range[0])
        up = (y - y_range[0]) / (y_range[1] - y_range[0])
        return left + across * WIDTH, top + (1 - up) * HEIGHT

    for tick in _ticks(*y_range):
        _, y = at(0, tick)
        draw.line((left, y, left + WIDTH, y), fill=PALE)
        if labelled:
            draw.text((left - 6, y), f"{tick:.4g}", fill=GREY, font=fonts[12], anchor="rm")
    along = sorted({point[0] for line in panel.lines.values() for point in line})
    for tick, text in enumerate(panel.ticks) if panel.ticks else [(x, f"{x:g}") for x in along]:
        for number, part in enumerate(text.split("\n")):
            draw.text((at(tick, 0)[0], top + HEIGHT + 12 + number * LINE), part, fill=GREY, font=fonts[12], anchor="mm")
    draw.rectangle((left, top, left + WIDTH, top + HEIGHT), outline=GREY)
    for name, points in panel.lines.items():
        colour = COLOURS[names.index(name) % len(COLOURS)]
        # A little aside from each other, so that one line's intervals do not hide another's.
        aside = 5 * (names.index(name) - (len(names) - 1) / 2)
        dots = [(at(x, y)[0] + aside, at(x, y)[1]) for x, y, _, _ in points]
        for (x, _), (_, _, low, high) in zip(dots, points, strict=True):
            draw.line((x, at(0, low)[1], x, at(0, high)[1]), fill=colour)
        draw.line(dots, fill=colour, width=2)
        for x, y in dots:
            draw.ellipse((x - 3, y - 3, x + 3, y + 3), fill=colour)
    if labelled:
        draw.text((left + 6, top + 5), panel.y_label, fill=INK, font=fonts[13])
