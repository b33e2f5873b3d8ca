"""The ablation as a table: means over seeds, intervals over faces, differences from stage 1."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder.emotions import EMOTION_NAMES
from encoder.evaluation import metrics
from encoder.evaluation.readings import BOOTSTRAP, HeadReading, rounded, with_intervals
from encoder.evaluation.table import as_csv, as_markdown
from encoder.experiments.ablation_rows import Variant
from encoder.experiments.ablation_runs import AblationRuns
from engine.storage.atomic import atomic_write_text

FIGURES = ("accuracy", "macro_recall", "macro_f1", "calibration_error", *(f"recall_{name}" for name in EMOTION_NAMES))
REFERENCE = "stage-1"
Figures = NDArray[np.float64]


def figures_of(readings: Sequence[HeadReading], index: NDArray[np.int64]) -> Figures:
    """``FIGURES`` of the faces at ``index``, averaged over the readings of several seeds."""
    rows = []
    for reading in readings:
        chosen = reading.at(index)
        table = metrics.confusion_matrix(chosen.labels, chosen.probabilities.argmax(axis=1), len(chosen.names))
        error = metrics.expected_calibration_error(chosen.labels, chosen.probabilities)
        rows.append(
            [metrics.accuracy(table), metrics.balanced_accuracy(table), metrics.macro_f1(table), error, *metrics.recall(table)]
        )
    return np.mean(rows, axis=0)


def _labelled(reading: HeadReading, keep: NDArray[np.bool_] | None = None) -> HeadReading:
    known = reading.labels >= 0
    return reading.at(known if keep is None else known & keep)


def _with_intervals(name: str, figures: Callable[[NDArray[np.int64]], Figures], count: int) -> dict[str, dict[str, Any]]:
    """Each of ``FIGURES`` of all ``count`` faces, called ``name``, with its 95 % ``interval`` over faces."""
    rows = zip(FIGURES, with_intervals(figures, count), strict=True)
    return {figure: {name: value, "interval": [low, high]} for figure, (value, low, high) in rows}


def describe_row(variant: Variant, seeds: Sequence[int], runs: AblationRuns) -> dict[str, Any]:
    """Figures of one row on valid, test, and test without twins of training faces."""
    splits: dict[str, Any] = {}
    for part in ("valid", "test", "test without twins"):
        keep = ~runs.twin() if part == "test without twins" else None
        if keep is not None and keep.all():
            continue
        readings = [_labelled(runs.reading(variant, seed, part.split()[0]), keep) for seed in seeds]
        count = len(readings[0].labels)
        figures = _with_intervals("mean", lambda index, rs=readings: figures_of(rs, index), count)  # type: ignore[misc]
        each = np.stack([figures_of([reading], np.arange(count)) for reading in readings], axis=1)
        for figure, values in zip(figures.values(), each.tolist(), strict=True):
            figure["seeds"] = [rounded(value) for value in values]
        splits[part] = {"count": count, **figures}
    return {"name": variant.name, "title": variant.title, "seeds": list(seeds), "splits": splits}


def differences(row: Variant, reference: Variant, seeds: Sequence[int], runs: AblationRuns) -> dict[str, Any]:
    """Test figures of ``row`` minus those of ``reference``, paired by face and seed, with 95 % intervals over faces."""
    ours, theirs = ([_labelled(runs.reading(variant, seed, "test")) for seed in seeds] for variant in (row, reference))
    return _with_intervals("difference", lambda index: figures_of(ours, index) - figures_of(theirs, index), len(ours[0].labels))


def write_table(
    rows: Sequence[Variant], seeds: Sequence[int], runs: AblationRuns, out: Path, argv: Sequence[str]
) -> tuple[str, list[Path]]:
    """Write ``table.md``, ``table.csv`` and ``ablation.json``; the table as text, and the files."""
    described = [describe_row(row, seeds, runs) for row in rows]
    reference = next((row for row in rows if row.name == REFERENCE), None)
    for row, content in zip(rows, described, strict=True):
        if reference is not None and row is not reference:
            content["against_stage_1"] = differences(row, reference, seeds, runs)
    report = {
        "command": shlex.join(["python", "-m", "encoder.ablation", *argv]),
        "data": runs.faces("test").source,
        "head": "fer2013",
        "bootstrap": BOOTSTRAP,
        "config": runs.base.model_dump(mode="json", exclude={"data": {"path"}}),
        "rows": described,
    }
    table = markdown(described, seeds, runs)
    files = {
        out / "ablation.json": json.dumps(report, indent=2) + "\n",
        out / "table.md": table + "\n",
        out / "table.csv": _csv(described),
    }
    for path, text in files.items():
        atomic_write_text(path, text)
    return table, list(files)


def markdown(described: Sequence[dict[str, Any]], seeds: Sequence[int], runs: AblationRuns) -> str:
    """The test figures as a Markdown table; macro-F1 with its interval and the range over seeds."""
    base = runs.base
    count = described[0]["splits"]["test"]["count"]
    caption = (
        f"FER-2013 labels, test split, {count} faces; mean of {len(seeds)} seed(s) ({', '.join(map(str, seeds))}), "
        f"{base.train.epochs:g} epochs, {base.model.name} {list(base.model.widths)} x {list(base.model.depths)}. Brackets: 95 % "
        "interval over faces; braces: lowest and highest seed."
    )
    rows = []
    for row in described:
        figures = row["splits"]["test"]
        cells = [_cell(figures[name]) for name in ("accuracy", "macro_recall", "macro_f1")]
        cells[-1] += f" {{{min(figures['macro_f1']['seeds']):.3f}, {max(figures['macro_f1']['seeds']):.3f}}}"
        cells += [_cell(figures[f"recall_{name}"]) for name in EMOTION_NAMES]
        rows.append([row["title"], *cells, f"{figures['calibration_error']['mean']:.3f}"])
    head = ["training", "accuracy", "macro recall", "macro-F1", *EMOTION_NAMES, "calibration error"]
    return f"{caption}\n\n{as_markdown(head, rows)}"


def _cell(figure: dict[str, Any]) -> str:
    low, high = figure["interval"]
    if low is None:
        return "–"
    return f"{figure['mean']:.3f} [{low:.3f}, {high:.3f}]"


def _csv(described: Sequence[dict[str, Any]]) -> str:
    columns = ["row", "split", "faces", "figure", "mean", "low", "high", "seeds"]
    rows = []
    for row in described:
        for split, figures in row["splits"].items():
            for name in FIGURES:
                figure = figures[name]
                seeds = " ".join(str(value) for value in figure["seeds"] if value is not None)
                values = (row["name"], split, figures["count"], name, figure["mean"], *figure["interval"], seeds)
                rows.append(dict(zip(columns, values, strict=True)))
    return as_csv(columns, rows)
