"""Charts of the evaluation report as inline SVG: sized for half a page or a whole phone, coloured by the page's style."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

WIDTH, SERIES = 460, 8


@dataclass(frozen=True)
class _Axes:
    """A plotting area in user units, with the data ranges that fill it."""

    left: float
    top: float
    right: float
    bottom: float
    x_range: tuple[float, float]
    y_range: tuple[float, float]

    def x(self, value: float) -> float:
        low, high = self.x_range
        return self.left + (value - low) / (high - low) * (self.right - self.left)

    def y(self, value: float) -> float:
        low, high = self.y_range
        return self.bottom - (value - low) / (high - low) * (self.bottom - self.top)


def _text(x: float, y: float, content: object, anchor: str = "middle", kind: str = "tick") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(content)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _svg(height: float, title: str, parts: Sequence[str]) -> Markup:
    head = f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(title)}"><title>{escape(title)}</title>'
    # Every text in the parts was escaped where it entered.
    return Markup(head + "".join(parts) + "</svg>")  # noqa: S704


def _legend(names: Sequence[str], y: float, left: float) -> tuple[list[str], float]:
    """Names with their colours in rows from ``y`` down, as far apart as their lengths ask; and the last row's ``y``."""
    parts, x = [], left
    for number, name in enumerate(names):
        width = 28 + 6.6 * len(name)
        if x > left and x + width > WIDTH:
            x, y = left, y + 18
        parts.append(f'<circle class="s{number % SERIES} dot" cx="{x + 5:.1f}" cy="{y - 4:.1f}" r="4"/>')
        parts.append(_text(x + 14, y, name, "start", "label"))
        x += width
    return parts, y


def _ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers inside the range, some ``about`` of them."""
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * m for m in (1, 2, 2.5, 5, 10) if power * m >= raw * 0.999)
    return [step * k for k in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def _number(value: float) -> str:
    if abs(value) >= 10000:
        return f"{value / 1000:.0f}k"
    return f"{value:.4g}"


def reliability_diagram(bins: Mapping[str, Sequence[float | None]]) -> Markup:
    """Confidence against accuracy, with the number of faces in each bin below.

    Args:
        bins: ``counts``, ``confidence`` and ``accuracy``, one entry a bin; None in empty bins.
    """
    counts = [int(count or 0) for count in bins["counts"]]
    axes = _Axes(52, 12, 446, 300, (0, 1), (0, 1))
    below = _Axes(52, 322, 446, 372, (0, 1), (0, max(counts) or 1))
    parts = []
    for tick in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0):
        parts += [_line(52, axes.y(tick), 446, axes.y(tick), "grid"), _text(45, axes.y(tick) + 4, f"{tick:.1f}", "end")]
        parts += [_text(axes.x(tick), 388, f"{tick:.1f}")]
    parts.append(_line(axes.x(0), axes.y(0), axes.x(1), axes.y(1), "ideal"))
    width = 1 / len(counts)
    points = []
    for number, count in enumerate(counts):
        sure, right = bins["confidence"][number], bins["accuracy"][number]
        x, wide = below.x(number * width) + 1, below.x(width) - below.x(0) - 2
        parts.append(
            f'<rect class="s0 bar" x="{x:.1f}" y="{below.y(count):.1f}" width="{wide:.1f}" '
            f'height="{below.bottom - below.y(count):.1f}"><title>{count} faces</title></rect>'
        )
        if sure is not None and right is not None:
            points.append((axes.x(sure), axes.y(right), axes.y(sure), count))
    # The gap to the diagonal is the error of the bin; a dot's area grows with its faces.
    parts += [_line(x, y, x, ideal, "gap") for x, y, ideal, _ in points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y, _, _ in points)
    parts.append(f'<polyline class="s0 curve" points="{path}"/>')
    most = max(counts) or 1
    parts += [
        f'<circle class="s0 dot" cx="{x:.1f}" cy="{y:.1f}" r="{2.5 + 4 * math.sqrt(n / most):.1f}"/>' for x, y, _, n in points
    ]
    parts += [
        _line(52, below.bottom, 446, below.bottom, "axis"),
        _text(249, 408, "confidence (highest probability)", kind="label"),
    ]
    parts += ['<text class="label" transform="translate(14 156) rotate(-90)" text-anchor="middle">accuracy</text>']
    parts += [_text(45, 352, "faces", "end")]
    return _svg(416, "Reliability diagram: accuracy of predictions by confidence", parts)


def dot_plot(
    rows: Mapping[str, Sequence[tuple[float | None, float | None, float | None]]], series: Sequence[str], title: str
) -> Markup:
    """Shares with their intervals, one row a name, one colour a series.

    Args:
        rows: per row and series (value, low, high); a None value leaves the place empty.
    """
    step = 24 if len(series) == 1 else 12 + 13 * len(series)
    left = 24 + 6.8 * max(len(name) for name in rows)
    bottom = 8 + step * len(rows)
    axes = _Axes(left, 8, WIDTH - 16, bottom, (0, 1), (0, 1))
    parts = []
    for tick in _ticks(0, 1):
        parts += [_line(axes.x(tick), 8, axes.x(tick), bottom, "grid"), _text(axes.x(tick), bottom + 16, _number(tick))]
    for row, (name, values) in enumerate(rows.items()):
        middle = 8 + step * (row + 0.5)
        parts.append(_text(left - 10, middle + 4, name, "end", "label"))
        for number, (value, low, high) in enumerate(values):
            y = middle + (number - (len(values) - 1) / 2) * 13
            if value is None:
                continue
            if low is not None and high is not None:
                parts.append(_line(axes.x(low), y, axes.x(high), y, f"s{number % SERIES} whisker"))
            parts.append(
                f'<circle class="s{number % SERIES} dot" cx="{axes.x(value):.1f}" cy="{y:.1f}" r="4.5">'
                f"<title>{escape(name)}: {value:.3f}</title></circle>"
            )
    height: float = bottom + 24
    if len(series) > 1:
        legend, last = _legend(series, height + 14, 8)
        parts += legend
        height = last + 10
    return _svg(height, title, parts)


def curves(series: Mapping[str, Sequence[tuple[float, float]]], title: str) -> Markup:
    """Lines over training steps.

    Args:
        series: per name its (step, value) points, at least one in all.
    """
    steps = [x for points in series.values() for x, _ in points]
    values = [y for points in series.values() for _, y in points]
    low, high = min(values), max(values)
    if low == high:
        low, high = low - 0.5, high + 0.5
    pad = 0.05 * (high - low)
    first, last = min(steps), max(steps)
    axes = _Axes(52, 12, 446, 232, (first, last if last > first else first + 1), (low - pad, high + pad))
    parts = []
    for tick in _ticks(*axes.y_range):
        parts += [_line(52, axes.y(tick), 446, axes.y(tick), "grid"), _text(45, axes.y(tick) + 4, _number(tick), "end")]
    parts += [_text(axes.x(tick), 250, _number(tick)) for tick in _ticks(*axes.x_range)]
    parts += [_line(52, 232, 446, 232, "axis"), _text(249, 270, "training step", kind="label")]
    for number, points in enumerate(series.values()):
        path = " ".join(f"{axes.x(x):.1f},{axes.y(y):.1f}" for x, y in points)
        parts.append(f'<polyline class="s{number % SERIES} curve" points="{path}"/>')
        if len(points) <= 40:
            parts += [
                f'<circle class="s{number % SERIES} dot" cx="{axes.x(x):.1f}" cy="{axes.y(y):.1f}" r="2.5"/>' for x, y in points
            ]
    legend, last = _legend(list(series), 294, 8)
    return _svg(last + 10, title, [*parts, *legend])


def class_chart(figures: Mapping[str, Any]) -> Markup:
    """Recall of each class with its Wilson interval, from one entry of the evaluation's JSON."""
    rows = {
        f"{name} ({row['support']})": [(row["recall"], *row["recall_interval"])]
        for name, row in figures["per_class"].items()
        if row["support"]
    }
    return dot_plot(rows, ["recall"], "Recall of each class with 95 % intervals")


def recall_chart(models: Sequence[Mapping[str, Any]], head: str) -> Markup:
    """Recall of each class for every model that has ``head``, side by side."""
    having = [model for model in models if head in model["heads"]]
    tables = [model["heads"][head]["all"]["per_class"] for model in having]
    rows = {
        f"{name} ({row['support']})": [(table[name]["recall"], *table[name]["recall_interval"]) for table in tables]
        for name, row in tables[0].items()
        if row["support"]
    }
    return dot_plot(rows, [model["name"] for model in having], "Recall of each class by model, with 95 % intervals")
