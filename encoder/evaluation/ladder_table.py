"""The table of the ladder: one row a system, those trained alike apart from the others, and what did not run and why."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from configs.cli import UserError
from encoder.emotions import EMOTION_NAMES
from encoder.evaluation import table
from encoder.evaluation.conclusions import trained_alike
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
# A page has no room for all of them side by side; the recalls stand in a table of their own.
_RECALLS = [(column, title) for column, title in _FIGURES if column.startswith("recall_")]
_ON_PAGE = [each for each in _FIGURES if each not in _RECALLS and each[0] not in ("multiply_adds", "schedule")]
# What is said of systems that were trained elsewhere or for longer, where they stand in the same table's figures.
APART = "Not trained on this schedule: trained for as long as it took, or elsewhere"
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
    """The table of what was trained alike, that of the others, then what did not run and why: each reason once."""
    alike, apart, absent = _parted(rows)
    lines = [_caption([*alike, *apart])] if alike or apart else ["No rung has run yet."]
    lines += ["", table.as_markdown(_HEAD, map(_cells, alike))] if alike else []
    lines += ["", f"{APART}:", "", table.as_markdown(_HEAD, map(_cells, apart))] if apart else []
    if absent:
        lines += ["", "Not run:"]
        lines += [f"- {_named(each)}: {table.plain(reason)}" for reason, each in _by_reason(absent).items()]
    return "\n".join([*lines, "", f"Made with `{command}`.", ""])


def _named(rows: Sequence[Row]) -> str:
    return ", ".join(f"{table.plain(row['title'])} (`{row['name']}`)" for row in rows)


def as_html(rows: Sequence[Row], command: str) -> str:
    """A ``<section>`` for a page; every text is escaped."""
    alike, apart, absent = _parted(rows)
    tables = [(_caption(alike), alike)] if alike else []
    tables += [(APART if alike else f"{APART}. {_caption(apart)}", apart)] if apart else []
    return render(
        "ladder.html",
        said=trained_alike(alike),
        tables=[(caption, _on_page(_ON_PAGE, part)) for caption, part in tables],
        recalls=_on_page(_RECALLS, [*alike, *apart]),
        head=["system", *(title for _, title in _ON_PAGE)],
        recall_head=["system", *(title for _, title in _RECALLS)],
        absent=[(reason, [row["title"] for row in each]) for reason, each in _by_kind(absent).items()],
        command=command,
    )


def _on_page(figures: Sequence[tuple[str, str]], rows: Sequence[Row]) -> list[list[tuple[str, str]]]:
    """Cells of a figure and its interval, empty where there is none."""
    made = []
    for row in rows:
        cells = [(row["title"], "")]
        for column, _ in figures:
            figure, _, ends = cell(row, column).partition(" (")
            cells.append((figure, ends.removesuffix(")").replace("–", " to ")))
        made.append(cells)
    return made


def _by_reason(absent: Sequence[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in absent:
        found.setdefault(row["reason"], []).append(row)
    return found


def _by_kind(absent: Sequence[Row]) -> dict[str, list[Row]]:
    """As readers of a page need it; how to mend it says ``ladder.md``."""
    found: dict[str, list[Row]] = {}
    for row in absent:
        reason = row["reason"]
        if "cannot be had" in reason:
            reason = "needs weights that could not be downloaded"
        elif package := re.search(r"needs? the package (\w+)", reason):
            reason = f"needs the package {package[1]}, which was not installed"
        found.setdefault(reason, []).append(row)
    return found


def _cells(row: Row) -> list[str]:
    return [row["title"], *(cell(row, column) for column, _ in _FIGURES)]


def _parted(rows: Sequence[Row]) -> tuple[list[Row], list[Row], list[Row]]:
    """What was trained on the ladder's schedule, what came with its weights, and what did not run."""
    ran = [row for row in rows if row["ran"]]
    apart = [row for row in ran if str(row.get("schedule", "")).endswith("weights")]
    return [row for row in ran if row not in apart], apart, [row for row in rows if not row["ran"]]


def _caption(ran: Sequence[Row]) -> str:
    """What the figures are of; rows that were judged on something else would not stand in one table."""
    first = ran[0]
    searched = "" if first["data"] == "drawn" else "; with the search for landmarks where they are read"
    return (
        f"{first['data']}, {first['split']} split, {first['faces']} faces, FER-2013 labels; one seed; interval: 95 % (Wilson); "
        f"faces/s: batched, {first['device']}, {first['threads']} thread(s){searched}"
    )
