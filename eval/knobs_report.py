"""What each knob does, as a table and a chart a knob."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eval.knobs import AVOIDED, KNOBS, Row, label, option
from eval.measures.real_reference import as_ratio
from eval.output.chart import Panel, draw_panels
from eval.output.table import write_tables
from eval.points import faces_line

COLUMNS = (
    "knob",
    "value",
    "accuracy, judge",
    "accuracy, encoder",
    "diversity / real",
    "avoided, judge",
    "avoided, encoder",
    "delivered",
    "seconds a face",
    "× base",
)
LINES = {"accuracy, second judge": "judge", "accuracy, encoder": "encoder"}
AVOIDED_LINES = {"avoided emotion, second judge": "judge", "avoided emotion, encoder": "encoder"}
COLUMNS_OF_CHARTS = 3


def write_report(out: Path, made_from: Mapping[str, Any], rows: Sequence[Row], points: Mapping[str, Mapping[str, Any]]) -> str:
    """Write ``knobs.md``, ``.csv``, ``.json`` and ``.png`` into ``out``; returns the Markdown."""
    base = points["base"]
    content = {
        **made_from,
        "notes": _notes(made_from, rows, base),
        "points": points,
        "rows": [{"knob": row.knob, "value": row.value, "default": row.default, "point": row.point} for row in rows],
    }
    text = write_tables(out, "knobs", content, COLUMNS, [_cells(row, points[row.point], base) for row in rows])
    panels = [_panel(name, [row for row in rows if row.knob == name], points) for name in dict.fromkeys(row.knob for row in rows)]
    grid = [panels[start : start + COLUMNS_OF_CHARTS] for start in range(0, len(panels), COLUMNS_OF_CHARTS)]
    draw_panels(grid, out / "knobs.png", title=f"{faces_line(made_from)}. *: default. x: seconds a face, base = 1")
    return text


def _cells(row: Row, point: Mapping[str, Any], base: Mapping[str, Any]) -> list[Any]:
    shares = [point[judge]["all"]["accuracy"] for judge in LINES.values()]
    avoided = [point[judge]["avoided"] if row.knob == "avoidance" else None for judge in LINES.values()]
    return [
        option(row.knob),
        label(row.value) + (" (default)" if row.default else ""),
        *shares,
        _diversity(point),
        *avoided,
        f"{point['faces']}/{point['asked']}",
        None if point["seconds_per_face"] is None else f"{point['seconds_per_face']:.3g}",
        _times(point, base),
    ]


def _diversity(point: Mapping[str, Any]) -> dict[str, Any] | None:
    found = point["judge"]["all"]["diversity"]
    return None if found is None else as_ratio(found)


def _times(point: Mapping[str, Any], base: Mapping[str, Any]) -> str | None:
    """Seconds a face as a multiple of the base's."""
    one = point["seconds_per_face"]
    return None if one is None else f"{one / base['seconds_per_face']:.2f}"


def _notes(made_from: Mapping[str, Any], rows: Sequence[Row], base: Mapping[str, Any]) -> list[str]:
    names = {row.knob for row in rows}
    real = [f"{base[judge]['all']['accuracy']['floor']:.2f} ({judge})" for judge in ("judge", "encoder")]
    settings = ", ".join(f"{option(name)} {label(value)}" for name, value in made_from["base"].items())
    notes = [
        f"{faces_line(made_from)}; real faces: {made_from['data']}, train for diversity, {made_from['split']} for accuracy: they "
        f"are read right at a rate of {' and '.join(real)}.",
        f"Base, from which one thing is changed at a time: {settings}.",
        f"Seconds on {made_from['device']}, {made_from['threads']} threads.",
    ]
    for name in (name for name in KNOBS if name in names and KNOBS[name].needs):
        on = ", ".join(f"{option(other)} {label(value)}" for other, value in KNOBS[name].needs.items())
        notes.append(f"Rows of {option(name)} have {on} as well.")
    if "avoidance" in names:
        pairs = ", ".join(f"{name} without {unwanted}" for name, unwanted in AVOIDED.items())
        notes.append(f'"avoided" is the mean probability of the emotion that is avoided: {pairs}.')
    return notes


def _panel(knob: str, rows: Sequence[Row], points: Mapping[str, Mapping[str, Any]]) -> Panel:
    lines: dict[str, list[tuple[float, float, float, float]]] = {}
    ticks = []
    for place, row in enumerate(rows):
        point = points[row.point]
        found = {name: point[judge]["all"]["accuracy"] for name, judge in LINES.items()}
        found["diversity / real"] = _diversity(point)
        if knob == "avoidance":
            found |= {name: point[judge]["avoided"] for name, judge in AVOIDED_LINES.items()}
        for name, figure in found.items():
            if figure and figure["value"] is not None:
                lines.setdefault(name, []).append((float(place), figure["value"], *figure["interval"]))
        times = _times(point, points["base"])
        # Pillow's own font has no ×.
        cost = "-" if times is None else f"{times}x"
        ticks.append(f"{label(row.value)}{' *' if row.default else ''}\n{cost}")
    on = "".join(f" (with {option(other)} {label(value)})" for other, value in KNOBS[knob].needs.items())
    return Panel(option(knob) + on, "", "", lines, tuple(ticks))
