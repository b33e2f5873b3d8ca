"""Charts of the evaluation report, by matplotlib: inline SVG in the fonts and colours of the page, confusions as PNG."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup, escape

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, SERIES = 460, 8
# matplotlib must be given colours, but the page's style knows them, for light and dark: these stand in for its variables.
_STAND_IN = {name: f"#0000{k:02x}" for k, name in enumerate(("ink", "soft", "rule", *(f"s{k}" for k in range(SERIES))), 1)}
_STYLE = {
    "font.family": "DejaVu Sans", "font.size": 12, "figure.dpi": 72, "svg.fonttype": "none", "svg.hashsalt": "charts",
    "text.parse_math": False,  # a name with two dollar signs is not a formula
    "axes.spines.left": False, "axes.spines.right": False, "axes.spines.top": False, "axes.edgecolor": _STAND_IN["soft"],
    "axes.labelcolor": _STAND_IN["ink"], "xtick.color": _STAND_IN["soft"], "ytick.color": _STAND_IN["soft"],
    "axes.grid": True, "axes.grid.axis": "y", "axes.axisbelow": True, "grid.color": _STAND_IN["rule"], "grid.linewidth": 1,
    "xtick.major.size": 0, "ytick.major.size": 0, "legend.frameon": False, "legend.labelcolor": _STAND_IN["ink"],
}  # fmt: skip


def _colour(number: int) -> str:
    return _STAND_IN[f"s{number % SERIES}"]


def _figure(height: float, rows: Sequence[float] = (1,)) -> tuple[Figure, Sequence[Axes]]:
    """A figure of one unit a point, as wide as every chart, with axes below each other in these proportions."""
    from matplotlib.figure import Figure

    figure = Figure((WIDTH / 72, height / 72), layout="constrained", facecolor="none")
    axes = figure.subplots(len(rows), height_ratios=rows, squeeze=False, subplot_kw={"facecolor": "none"})[:, 0]
    return figure, list(axes)


def _svg(figure: Figure, title: str) -> Markup:
    """The figure for a page: no ids that another chart could have, no style sheet, no addresses; ``tip:`` ids as tooltips."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    text = buffer.getvalue()[buffer.getvalue().index("<svg") :]
    text = re.sub(r'<style.*?</style>|<clipPath.*?</clipPath>| clip-path="[^"]*"', "", text, flags=re.DOTALL)
    text = re.sub(r'<g id="tip:([^"]*)">', r"<g><title>\1</title>", text)
    text = re.sub(r'<g id="[^"]*"', "<g", text)
    text = re.sub(r"font: ([\d.]+px)[^;\"]*", r"font-size: \1", text)
    for name, colour in _STAND_IN.items():
        text = text.replace(colour, f"var(--{name})")
    view = re.search(r'viewBox="[^"]*"', text)
    head = f'<svg {view and view[0]} xmlns:xlink="http://www.w3.org/1999/xlink" role="img" aria-label="{escape(title)}">'
    # matplotlib escaped every text.
    return Markup(f"{head}<title>{escape(title)}</title>" + text[text.index(">") + 1 :].strip())  # noqa: S704


def _legend(figure: Figure, names: Sequence[str]) -> None:
    """Names with their colours below the axes, in as many columns as the longest allows; the figure grows by it."""
    columns = max(1, min(len(names), int(WIDTH / (30 + 7.6 * max(map(len, names))))))
    figure.set_figheight(figure.get_figheight() + (10 + 18 * math.ceil(len(names) / columns)) / 72)
    dots = [figure.axes[0].plot([], [], "o", color=_colour(k), markersize=7)[0] for k in range(len(names))]
    figure.legend(dots, names, loc="outside lower left", ncols=columns, handlelength=0.6, columnspacing=1.4, borderpad=0.4)


def _number(value: float, _place: float | None = None) -> str:
    return f"{value / 1000:.0f}k" if abs(value) >= 10000 else f"{value:.4g}"


def reliability_diagram(bins: Mapping[str, Sequence[float | None]]) -> Markup:
    """Confidence against accuracy, with the number of faces in each bin below.

    Args:
        bins: ``counts``, ``confidence`` and ``accuracy``, one entry a bin; None in empty bins.
    """
    from matplotlib import rc_context

    counts = [int(count or 0) for count in bins["counts"]]
    places = (np.arange(len(counts)) + 0.5) / len(counts)
    columns = np.array([bins["confidence"], bins["accuracy"]], float)
    sure, right, faces = np.array([*columns, counts])[:, np.array(counts) > 0]
    with rc_context(_STYLE):
        figure, (top, below) = _figure(416, (5.2, 1))
        top.plot((0, 1), (0, 1), color=_STAND_IN["soft"], linewidth=1.2, dashes=(4, 4))
        # The gap to the diagonal is the error of the bin; a dot's area grows with its faces.
        top.vlines(sure, right, sure, color=_colour(1), linewidth=2, alpha=0.55)
        top.plot(sure, right, color=_colour(0), linewidth=2)
        for x, y, n in zip(sure, right, faces, strict=True):
            dot = top.plot(x, y, "o", color=_colour(0), markersize=2 * (2.5 + 4 * math.sqrt(n / max(faces))))[0]
            dot.set_gid(f"tip:{n:.0f} faces")
        top.set(xlim=(0, 1), ylim=(0, 1), ylabel="accuracy")
        top.spines.bottom.set_visible(False)
        top.tick_params(labelbottom=False)
        for bar, n in zip(below.bar(places, counts, 0.9 / len(counts), color=_colour(0), alpha=0.45), counts, strict=True):
            bar.set_gid(f"tip:{n} faces")
        below.grid(visible=False)
        below.set(xlim=(0, 1), ylim=(0, max(counts) or 1), yticks=[], xlabel="confidence (highest probability)", ylabel="faces")
        return _svg(figure, "Reliability diagram: accuracy of predictions by confidence")


def dot_plot(
    rows: Mapping[str, Sequence[tuple[float | None, float | None, float | None]]], series: Sequence[str], title: str
) -> Markup:
    """Shares with their intervals, one row a name, one colour a series.

    Args:
        rows: per row and series (value, low, high); a None value leaves the place empty.
    """
    from matplotlib import rc_context

    step = 24 if len(series) == 1 else 12 + 13 * len(series)
    with rc_context(_STYLE):
        figure, (axes,) = _figure(36 + step * len(rows))
        for row, (name, values) in enumerate(rows.items()):
            for number, (value, low, high) in enumerate(values):
                y = row + (number - (len(values) - 1) / 2) * 13 / step
                if value is None:
                    continue
                if low is not None and high is not None:
                    axes.hlines(y, low, high, color=_colour(number), linewidth=2)
                axes.plot(value, y, "o", color=_colour(number), markersize=9)[0].set_gid(f"tip:{name}: {value:.3f}")
        axes.set(xlim=(0, 1), ylim=(len(rows) - 0.5, -0.5), yticks=range(len(rows)), yticklabels=list(rows))
        axes.grid(visible=False)
        axes.grid(axis="x")
        axes.spines.bottom.set_visible(False)
        axes.tick_params("y", labelcolor=_STAND_IN["ink"], pad=9)
        axes.xaxis.set_major_formatter(_number)
        if len(series) > 1:
            _legend(figure, series)
        return _svg(figure, title)


def curves(series: Mapping[str, Sequence[tuple[float, float]]], title: str) -> Markup:
    """Lines over training steps.

    Args:
        series: per name its (step, value) points, at least one in all.
    """
    from matplotlib import rc_context

    with rc_context(_STYLE):
        figure, (axes,) = _figure(276)
        for number, points in enumerate(series.values()):
            x, y = zip(*points, strict=True)
            axes.plot(x, y, "o-" if len(points) <= 40 else "-", color=_colour(number), linewidth=2, markersize=5)
        steps = [step for points in series.values() for step, _ in points]
        axes.set(xlim=(min(steps), max(*steps, min(steps) + 1)), xlabel="training step")
        axes.locator_params(nbins=5)
        axes.xaxis.set_major_formatter(_number)
        axes.yaxis.set_major_formatter(_number)
        _legend(figure, list(series))
        return _svg(figure, title)


def class_chart(figures: Mapping[str, Any]) -> Markup:
    """Recall of each class with its Wilson interval, from one entry of the evaluation's JSON."""
    return _recalls([figures["per_class"]], ["recall"], "Recall of each class with 95 % intervals")


def recall_chart(models: Sequence[Mapping[str, Any]], head: str) -> Markup:
    """Recall of each class for every model that has ``head``, side by side."""
    having = [model for model in models if head in model["heads"]]
    tables = [model["heads"][head]["all"]["per_class"] for model in having]
    return _recalls(tables, [model["name"] for model in having], "Recall of each class by model, with 95 % intervals")


def _recalls(tables: Sequence[Mapping[str, Any]], series: Sequence[str], title: str) -> Markup:
    rows = {
        f"{name} ({row['support']})": [(table[name]["recall"], *table[name]["recall_interval"]) for table in tables]
        for name, row in tables[0].items()
        if row["support"]
    }
    return dot_plot(rows, series, title)


def confusion_png(table: np.ndarray, names: Sequence[str], title: str) -> bytes:
    """A PNG of (C, C) counts: rows true class, columns predicted, cells share of the row and count."""
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    cells = [[(f"{share:.2f}", str(count)) for share, count in zip(*row, strict=True)] for row in zip(shares, table, strict=True)]
    text = f"{title}\n{table.sum()} faces; rows: true class, columns: predicted"
    return _matrix_png(shares**0.7, ("white", "#174c8a"), cells, names, text, dark=shares > 0.4)


def confusion_change_png(before: np.ndarray, after: np.ndarray, names: Sequence[str], title: str) -> bytes:
    """A PNG of what moved between two (C, C) tables of counts of the same faces: cells change of the share of the row, and
    the counts before and after. Green is better (more on the diagonal, fewer beside it), red is worse.
    """
    total = np.maximum(before.sum(axis=1, keepdims=True), 1)
    change = (after - before) / total
    cells = [
        [
            (f"{share:+.2f}".replace("-", "−") if new != old else "0", f"{old} → {new}")
            for share, old, new in zip(*row, strict=True)
        ]
        for row in zip(change, before, after, strict=True)
    ]
    better = np.where(np.eye(len(names), dtype=bool), change, -change)
    # A tenth of a row has the strongest colour.
    shade = 0.5 + np.clip(better / 0.1, -1, 1) / 2
    text = f"{title}: what moved\n{before.sum()} faces; rows: true class, columns: predicted\nGreen is better, red is worse."
    return _matrix_png(shade, ("#e98a80", "white", "#7fc08c"), cells, names, text, dark=np.zeros(shade.shape, bool))


def _matrix_png(
    shade: np.ndarray,
    colours: Sequence[str],
    cells: Sequence[Sequence[tuple[str, str]]],
    names: Sequence[str],
    title: str,
    *,
    dark: np.ndarray,
) -> bytes:
    """A PNG of (C, C) cells of two lines of text, coloured by ``shade`` in [0, 1] along ``colours``; white on ``dark`` ones."""
    from matplotlib import rc_context
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    with rc_context({"font.family": "DejaVu Sans", "font.size": 11, "text.parse_math": False}):
        side = 0.76 * len(names)
        figure = Figure((side + 1.5, side + 1.2), layout=ConstrainedLayoutEngine(w_pad=0.14, h_pad=0.14), dpi=100)
        axes = figure.subplots()
        scale = LinearSegmentedColormap.from_list("scale", colours)
        axes.imshow(shade, cmap=scale, vmin=0, vmax=1)
        for row, line in enumerate(cells):
            for column, (large, small) in enumerate(line):
                ink = "white" if dark[row, column] else "black"
                axes.text(column, row - 0.06, large, color=ink, ha="center", va="bottom", size=12)
                axes.text(column, row + 0.1, small, color=ink, ha="center", va="top", size=9)
        axes.set_yticks(range(len(names)), names)
        axes.set_xticks(range(len(names)), names, size=9)
        axes.tick_params(length=0, which="both", labeltop=True, labelbottom=False)
        axes.spines[:].set_visible(False)
        for minor in (axes.set_xticks, axes.set_yticks):
            minor(np.arange(len(names) + 1) - 0.5, minor=True)
        axes.grid(which="minor", color="white", linewidth=2)
        axes.set_title(title, loc="left", size=12, pad=12)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
