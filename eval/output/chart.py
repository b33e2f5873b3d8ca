"""Small charts in one PNG: lines with their intervals, the panels of a row on one scale of y."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from engine.storage.atomic import atomic_write_bytes, make_folder

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Told apart by people with any colour vision (Okabe & Ito, 2008).
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
WIDTH, HEIGHT = 3.4, 2.4  # of a panel, in inches


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
    lines: Mapping[str, Sequence[tuple[float, float, float, float]]]
    ticks: Sequence[str] = ()


def in_rows(panels: Sequence[Panel], columns: int = 3) -> list[Sequence[Panel]]:
    return [panels[start : start + columns] for start in range(0, len(panels), columns)]


def draw_panels(rows: Sequence[Sequence[Panel]], title: str) -> Figure:
    """Rows of panels under one title, with one legend for all."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.transforms import offset_copy

    names = list(dict.fromkeys(name for row in rows for panel in row for name in panel.lines))
    wide = max(map(len, rows))
    figure = Figure(figsize=(wide * WIDTH, len(rows) * HEIGHT + 0.8), layout="constrained")
    places = figure.subplots(len(rows), wide, squeeze=False, sharey="row")
    for row, axes in zip(rows, places, strict=True):
        numbers = [x for panel in row if not panel.ticks for points in panel.lines.values() for x, *_ in points]
        for place, panel in zip(axes, row, strict=False):
            for name, points in panel.lines.items():
                x, y, low, high = np.array(points, float).T
                number = names.index(name)
                # A little aside from each other, so that one line's intervals do not hide another's.
                aside = offset_copy(place.transData, figure, 3 * (number - (len(names) - 1) / 2), units="points")
                how = {"color": COLOURS[number % len(COLOURS)], "marker": "o", "markersize": 3, "elinewidth": 0.8}
                place.errorbar(x, y, np.clip([y - low, high - y], 0.0, None), transform=aside, **how)
                place.update_datalim(np.column_stack([np.r_[x, x], np.r_[low, high]]))
            place.autoscale_view()
            if panel.ticks:
                place.set_xticks(range(len(panel.ticks)), panel.ticks)
                place.set_xlim(-0.5, len(panel.ticks) - 0.5)
            elif numbers:
                room = 0.05 * (max(numbers) - min(numbers) or 1.0)
                place.set_xlim(min(numbers) - room, max(numbers) + room)
            place.set(title=panel.title, xlabel=panel.x_label, ylabel=panel.y_label if place is axes[0] else "")
            place.grid(axis="y", color="#e4e4e4")
            place.tick_params(labelsize=8)
        for place in axes[len(row) :]:
            place.set_axis_off()
    figure.suptitle(title, fontsize=10)
    colours = (COLOURS[number % len(COLOURS)] for number in range(len(names)))
    lines = [Line2D([], [], color=colour, marker="o", ms=3) for colour in colours]
    figure.legend(lines, names, loc="outside lower center", ncols=min(len(names), 2 * wide) or 1, fontsize=9)
    return figure


def write_chart(path: Path, rows: Sequence[Sequence[Panel]], title: str) -> None:
    buffer = io.BytesIO()
    draw_panels(rows, title).savefig(buffer, format="png", dpi=120)
    make_folder(path.parent)
    atomic_write_bytes(path, buffer.getvalue())
