"""The table of the ladder: one row a system, what ran on which schedule, and what did not run and why."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from configs.cli import UserError
from encoder.emotions import EMOTION_NAMES
from encoder.evaluation import table
from encoder.evaluation.page import render
from engine.storage.atomic import atomic_write_text
from engine.storage.plain_json import parse_json

FORMAT_VERSION = 1
_KIND = "ladder"
_MOST_BYTES = 1 << 20
_FIGURES = (
    ("parameters", "parameters"),
    ("multiply_adds", "multiply-adds"),
    ("schedule", "schedule"),
    ("epochs", "epochs"),
    ("minutes", "minutes"),
    ("accuracy", "accuracy"),
    ("accuracy_without_twins", "without twins"),
    ("macro_recall", "macro recall"),
    ("macro_f1", "macro F1"),
    *((f"recall_{name}", name) for name in EMOTION_NAMES),
    ("calibration_error", "ECE"),
    ("faces_per_second", "faces/s"),
)
_HEAD = ["system", *(title for _, title in _FIGURES)]
Row = Mapping[str, Any]


def figures_of(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of a row that ``evaluation.json`` knows; all are of the FER-2013 head.

    Raises UserError: the model was not judged on FER-2013's labels.
    """
    head = evaluation["heads"].get("fer2013")
    if head is None:
        raise UserError(f"{evaluation['weights']}: no head for FER-2013's labels, which the ladder compares")
    everything, apart = head["all"], head.get("without_twins")
    return {
        "split": evaluation["split"],
        "data": evaluation["data"],
        "faces": everything["count"],
        "accuracy": everything["accuracy"],
        "accuracy_interval": everything["accuracy_interval"],
        "accuracy_without_twins": apart["accuracy"] if apart else None,
        "faces_without_twins": apart["count"] if apart else None,
        "macro_recall": everything["balanced_accuracy"],
        "macro_f1": everything["macro_f1"],
        "calibration_error": everything["expected_calibration_error"],
        **{f"recall_{name}": everything["per_class"][name]["recall"] for name in EMOTION_NAMES},
    }


def write_table(rows: Sequence[Row], out: Path, *, command: str, schedule: str) -> list[Path]:
    """``ladder.json``, ``.csv``, ``.md`` and ``.html`` (a section to be put into a page) in ``out``; the files."""
    content = {"format_version": FORMAT_VERSION, "kind": _KIND, "command": command, "schedule": schedule, "rows": list(rows)}
    texts = {
        "ladder.json": json.dumps(content, indent=2, allow_nan=False) + "\n",
        "ladder.csv": as_csv(rows),
        "ladder.md": as_markdown(rows, command),
        "ladder.html": as_html(rows, command),
    }
    for name, text in texts.items():
        atomic_write_text(out / name, text)
    return [out / name for name in texts]


def read_table(path: Path) -> tuple[list[dict[str, Any]], str]:
    """Rows and command of a ``ladder.json``. Raises UserError: no such file, or something else."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error}); give ladder.json of encoder.ladder") from None
    content = parse_json(data[:_MOST_BYTES], str(path))
    rows = content.get("rows") if isinstance(content, dict) and content.get("kind") == _KIND else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) and {"name", "title", "ran"} <= row.keys() for row in rows):
        raise UserError(f"{path}: not a table of the ladder; give ladder.json of encoder.ladder")
    return rows, str(content.get("command", ""))


def cell(row: Row, column: str) -> str:
    """One figure as people read it; a dash where there is none."""
    value = row.get(column)
    if value is None:
        return "–"
    if column in ("parameters", "multiply_adds"):
        return _large(float(value))
    if column in ("epochs", "minutes"):
        return f"{value:.1f}"
    if column == "faces_per_second":
        return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"
    if column == "accuracy":
        low, high = row["accuracy_interval"]
        return f"{value:.3f} ({low:.3f}–{high:.3f})"
    return f"{value:.3f}" if isinstance(value, float | int) else str(value)


def _large(value: float) -> str:
    for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:.2f} {unit}"
    return f"{value:.0f}"


def as_csv(rows: Sequence[Row]) -> str:
    """Every figure in full; the interval as two columns."""
    columns = ["name", "title", "ran", "reason", *(column for column, _ in _FIGURES)]
    columns += ["accuracy_low", "accuracy_high", "faces", "faces_without_twins", "data", "split", "seed", "threads", "weights"]
    ends = [row.get("accuracy_interval") or (None, None) for row in rows]
    return table.as_csv(
        columns, [{**row, "accuracy_low": low, "accuracy_high": high} for row, (low, high) in zip(rows, ends, strict=True)]
    )


def as_markdown(rows: Sequence[Row], command: str) -> str:
    """The table, then what did not run and why."""
    ran, absent = _parted(rows)
    lines = [_caption(ran), "", table.as_markdown(_HEAD, map(_cells, ran))] if ran else ["No rung has run yet."]
    if absent:
        lines += ["", "Not run:"]
        lines += [f"- {table.plain(row['title'])} (`{row['name']}`): {table.plain(row['reason'])}" for row in absent]
    return "\n".join([*lines, "", f"Made with `{command}`.", ""])


def as_html(rows: Sequence[Row], command: str) -> str:
    """A ``<section>`` for a page; every text is escaped."""
    ran, absent = _parted(rows)
    caption = _caption(ran) if ran else ""
    cells = list(map(_cells, ran))
    return render("ladder.html", head=_HEAD, ran=cells, absent=absent, caption=caption, command=command)


def _cells(row: Row) -> list[str]:
    return [row["title"], *(cell(row, column) for column, _ in _FIGURES)]


def _parted(rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    return [row for row in rows if row["ran"]], [row for row in rows if not row["ran"]]


def _caption(ran: Sequence[Row]) -> str:
    """What the figures are of; rows that were judged on something else would not stand in one table."""
    first = ran[0]
    searched = "" if first["data"] == "drawn" else "; with the search for landmarks where they are read"
    return (
        f"{first['data']}, {first['split']} split, {first['faces']} faces, FER-2013 labels; one seed; interval: 95 % (Wilson); "
        f"faces/s: batched, {first['device']}, {first['threads']} thread(s){searched}"
    )
