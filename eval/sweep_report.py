"""A sweep's figures as CSV, JSON, Markdown and a picture."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from encoder.emotions import EMOTION_NAMES
from engine.storage.atomic import atomic_write_text, write_json
from eval.measures.real_reference import as_ratio
from eval.output.chart import Panel, draw_panels
from eval.points import faces_line

SETTINGS = ("steps", "guidance", "temperature")
JUDGES = ("judge", "encoder")
MEASURES = ("accuracy", "diversity", "frechet", "kernel", "density", "coverage")
# Share of the floor's coverage below which a setting has traded too much variety for accuracy.
LEAST_COVERAGE = 0.6
PLOTTED = {
    "accuracy": ("value", "accuracy, second judge"),
    "diversity": ("relative", "diversity / real"),
    "frechet": ("relative", "Frechet / floor"),  # Pillow's own font has no accents
    "coverage": ("relative", "coverage / floor"),
}


def order(figures: Mapping[str, Any]) -> tuple[float, ...]:
    """Where a point stands in tables."""
    return figures["steps"], figures["guidance"], figures["temperature"]


def best(points: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The point of highest accuracy by the second judge among those that keep ``LEAST_COVERAGE`` of the floor's coverage in
    its features; None where none does. Equal ones: more coverage, then fewer steps."""
    enough = [point for point in points if (point["judge"]["all"]["coverage"]["relative"] or 0.0) >= LEAST_COVERAGE]

    def rank(point: Mapping[str, Any]) -> tuple[float, ...]:
        figures = point["judge"]["all"]
        return figures["accuracy"]["value"], figures["coverage"]["relative"], -point["steps"]

    return max(enough, key=rank, default=None)


def write_report(out: Path, made_from: Mapping[str, Any], points: Sequence[Mapping[str, Any]]) -> str:
    """Write ``sweep.csv``, ``.json``, ``.md`` and ``.png`` into ``out``; returns the Markdown."""
    points = sorted(points, key=order)
    chosen = best(points)
    write_json(
        out / "sweep.json", {**made_from, "best": chosen and dict(zip(SETTINGS, order(chosen), strict=True)), "points": points}
    )
    atomic_write_text(out / "sweep.csv", to_csv(points))
    text = to_markdown(made_from, points, chosen)
    atomic_write_text(out / "sweep.md", text)
    draw_panels(_panels(points), out / "sweep.png", title=_title(made_from))
    return text


def to_csv(points: Sequence[Mapping[str, Any]]) -> str:
    """One row for each point, judge, emotion (or ``all``) and measure."""
    buffer = io.StringIO()
    table = csv.writer(buffer, lineterminator="\n")
    table.writerow([*SETTINGS, "faces_per_second", "features", "emotion", "measure", "value", "low", "high", "floor", "relative"])
    for point in points:
        for judge in JUDGES:
            for emotion in ("all", *EMOTION_NAMES):
                for measure in MEASURES:
                    if (found := point[judge][emotion].get(measure)) is not None:
                        figures = (found["value"], *found["interval"], found["floor"], found["relative"])
                        table.writerow([*order(point), point["faces_per_second"], judge, emotion, measure, *figures])
    return buffer.getvalue()


def _title(made_from: Mapping[str, Any]) -> str:
    return f"{faces_line(made_from)}, none refused, against {made_from['data']} {made_from['split']}"


def to_markdown(made_from: Mapping[str, Any], points: Sequence[Mapping[str, Any]], chosen: Mapping[str, Any] | None) -> str:
    """One table for all faces and one of the accuracy of each emotion."""
    lines = [f"{_title(made_from)}.", ""]
    lines += [
        "| steps | guidance | temperature | accuracy, judge | accuracy, encoder | diversity / real | Fréchet / floor "
        "| kernel − floor | density / floor | coverage / floor | faces/s |",
        "|---" * 11 + "|",
    ]
    for point in points:
        judge = point["judge"]["all"]
        shares = [_share(point[who]["all"]["accuracy"]) for who in JUDGES]
        relative = [_plain(judge[name]["relative"]) for name in MEASURES[1:]]
        row = [*(f"{value:g}" for value in order(point)), *shares, *relative, f"{point['faces_per_second']:.1f}"]
        lines.append("| " + " | ".join(f"**{cell}**" if point is chosen else cell for cell in row) + " |")
    real = [f"{points[0][who]['all']['accuracy']['floor']:.2f} ({who})" for who in JUDGES]
    rule = f"highest accuracy by the second judge among points that keep {LEAST_COVERAGE:g} of the floor's coverage"
    lines += ["", f"Distances in the second judge's features. Real faces are read right at a rate of {' and '.join(real)}."]
    lines += [f"Bold: {rule}." if chosen is not None else f"No point qualifies as the best ({rule}).", ""]
    lines += ["| accuracy, judge | " + " | ".join(EMOTION_NAMES) + " |", "|---" * 8 + "|"]
    for point in points:
        name = " / ".join(f"{value:g}" for value in order(point))
        cells = [f"{point['judge'][emotion]['accuracy']['value']:.2f}" for emotion in EMOTION_NAMES]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    cells = [f"{points[0]['judge'][emotion]['accuracy']['floor']:.2f}" for emotion in EMOTION_NAMES]
    lines += ["| real faces | " + " | ".join(cells) + " |", ""]
    return "\n".join(lines)


def _share(found: Mapping[str, Any]) -> str:
    low, high = found["interval"]
    return f"{found['value']:.2f} ({low:.2f} to {high:.2f})"


def _plain(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"


def _panels(points: Sequence[Mapping[str, Any]]) -> list[list[Panel]]:
    """A row for each measure, a column for each number of steps, a line for each temperature, over guidance."""
    steps = sorted({point["steps"] for point in points})
    rows = []
    for measure, (kind, label) in PLOTTED.items():
        row = []
        for number in steps:
            lines: dict[str, list[tuple[float, float, float, float]]] = {}
            for point in points:
                found = point["judge"]["all"][measure]
                if point["steps"] != number or found[kind] is None:
                    continue
                shown = as_ratio(found) if kind == "relative" else found
                name = f"temperature {point['temperature']:g}"
                lines.setdefault(name, []).append((point["guidance"], shown["value"], *shown["interval"]))
            row.append(Panel(f"{number} steps", label, "guidance", lines))
        rows.append(row)
    return rows
