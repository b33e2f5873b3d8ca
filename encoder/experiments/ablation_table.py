"""The ablation as a table: means over seeds, intervals over faces, differences from stage 1."""

from __future__ import annotations

import csv
import io
import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder.emotions import EMOTION_NAMES
from encoder.evaluation.metrics import (
    accuracy,
    balanced_accuracy,
    bootstrap,
    confusion_matrix,
    expected_calibration_error,
    macro_f1,
    recall,
)
from encoder.evaluation.readings import HeadReading
from encoder.experiments.ablation_rows import Variant
from encoder.experiments.ablation_runs import AblationRuns
from engine.storage.atomic import atomic_write_text

FIGURES = ("accuracy", "macro_recall", "macro_f1", "calibration_error", *(f"recall_{name}" for name in EMOTION_NAMES))
REFERENCE = "stage-1"
RESAMPLES = 1000


def figures_of(readings: Sequence[HeadReading], index: NDArray[np.int64]) -> NDArray[np.float64]:
    """``FIGURES`` of the faces at ``index``, averaged over the readings of several seeds."""
    rows = []
    for reading in readings:
        chosen = reading.at(index)
        table = confusion_matrix(chosen.labels, chosen.probabilities.argmax(axis=1), len(chosen.names))
        error = expected_calibration_error(chosen.labels, chosen.probabilities)
        rows.append([accuracy(table), balanced_accuracy(table), macro_f1(table), error, *recall(table)])
    return np.mean(rows, axis=0)


def _labelled(reading: HeadReading, keep: NDArray[np.bool_] | None = None) -> HeadReading:
    known = reading.labels >= 0
    return reading.at(known if keep is None else known & keep)


def describe_row(variant: Variant, seeds: Sequence[int], runs: AblationRuns) -> dict[str, Any]:
    """Figures of one row on valid, test, and test without twins of training faces."""
    row: dict[str, Any] = {"name": variant.name, "title": variant.title, "seeds": list(seeds), "splits": {}}
    for part in ("valid", "test", "test without twins"):
        keep = ~runs.twin() if part == "test without twins" else None
        split = part.split()[0]
        if keep is not None and keep.all():
            continue
        readings = [_labelled(runs.reading(variant, seed, split), keep) for seed in seeds]
        count = len(readings[0].labels)
        everything = np.arange(count)
        low, high = bootstrap(lambda index, rs=readings: figures_of(rs, index), count, resamples=RESAMPLES, seed=0)  # type: ignore[misc]
        mean = figures_of(readings, everything)
        each = [figures_of([reading], everything) for reading in readings]
        row["splits"][part] = {"count": count} | {
            name: {
                "mean": round(float(mean[k]), 4),
                "interval": [round(float(low[k]), 4), round(float(high[k]), 4)],
                "seeds": [round(float(values[k]), 4) for values in each],
            }
            for k, name in enumerate(FIGURES)
        }
    return row


def differences(row: Variant, reference: Variant, seeds: Sequence[int], runs: AblationRuns) -> dict[str, Any]:
    """Test figures of ``row`` minus those of ``reference``, paired by face and seed, with 95 % intervals over faces."""
    pairs = [[_labelled(runs.reading(variant, seed, "test")) for seed in seeds] for variant in (row, reference)]

    def gap(index: NDArray[np.int64]) -> NDArray[np.float64]:
        return figures_of(pairs[0], index) - figures_of(pairs[1], index)

    count = len(pairs[0][0].labels)
    low, high = bootstrap(gap, count, resamples=RESAMPLES, seed=0)
    middle = gap(np.arange(count))
    return {
        name: {"difference": round(float(middle[k]), 4), "interval": [round(float(low[k]), 4), round(float(high[k]), 4)]}
        for k, name in enumerate(FIGURES)
    }


def write_table(
    rows: Sequence[Variant], seeds: Sequence[int], runs: AblationRuns, out: Path, argv: Sequence[str]
) -> tuple[str, list[Path]]:
    """Write ``table.md``, ``table.csv`` and ``ablation.json``; the table as text, and the files."""
    described = [describe_row(row, seeds, runs) for row in rows]
    reference = next((row for row in rows if row.name == REFERENCE), None)
    for row, content in zip(rows, described, strict=True):
        if reference is not None and row is not reference:
            content["against_stage_1"] = differences(row, reference, seeds, runs)
    command = shlex.join(["python", "-m", "encoder.ablation", *argv])
    report = {
        "command": command,
        "data": runs.faces("test").source,
        "head": "fer2013",
        "bootstrap": {"resamples": RESAMPLES, "seed": 0},
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
    lines = [
        f"FER-2013 labels, test split, {count} faces; mean of {len(seeds)} seed(s) ({', '.join(map(str, seeds))}), "
        f"{base.train.epochs:g} epochs, {base.model.name} {list(base.model.widths)} x {list(base.model.depths)}. Brackets: 95 % "
        "interval over faces; braces: lowest and highest seed.",
        "",
        "| training | accuracy | macro recall | macro-F1 | " + " | ".join(EMOTION_NAMES) + " | calibration error |",
        "|---" * (len(EMOTION_NAMES) + 5) + "|",
    ]
    for row in described:
        figures = row["splits"]["test"]
        cells = [_cell(figures["accuracy"]), _cell(figures["macro_recall"]), _cell(figures["macro_f1"], spread=True)]
        cells += [_cell(figures[f"recall_{name}"]) for name in EMOTION_NAMES]
        lines.append(f"| {row['title']} | {' | '.join(cells)} | {figures['calibration_error']['mean']:.3f} |")
    return "\n".join(lines)


def _cell(figure: dict[str, Any], *, spread: bool = False) -> str:
    low, high = figure["interval"]
    text = f"{figure['mean']:.3f} [{low:.3f}, {high:.3f}]"
    return text + (f" {{{min(figure['seeds']):.3f}, {max(figure['seeds']):.3f}}}" if spread else "")


def _csv(described: Sequence[dict[str, Any]]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["row", "split", "faces", "figure", "mean", "low", "high", "seeds"])
    for row in described:
        for split, figures in row["splits"].items():
            for name in FIGURES:
                figure = figures[name]
                seeds = " ".join(map(str, figure["seeds"]))
                writer.writerow([row["name"], split, figures["count"], name, figure["mean"], *figure["interval"], seeds])
    return buffer.getvalue()
