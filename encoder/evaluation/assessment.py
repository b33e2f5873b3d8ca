"""From an encoder and labelled faces to figures, a readable table and confusion matrices."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from encoder.evaluation import metrics
from encoder.evaluation.charts import confusion_change_png, confusion_png
from encoder.evaluation.readings import BOOTSTRAP, HEAD_TITLES, HEADLINE, HeadReading, headline, rounded, with_intervals
from encoder.inference.views import VIEW_TITLES, Views
from engine.storage.atomic import atomic_write_bytes


def score(labels: np.ndarray, probabilities: np.ndarray, names: tuple[str, ...]) -> dict[str, Any]:
    """All figures of one label scheme: (N,) classes against (N, C) probabilities.

    ``intervals`` are bootstrapped over faces (95 %, seeded); those of accuracy and recall are also given by Wilson's
    formula, which holds for few faces too. A figure that a class without faces cannot have is None.
    """
    table = metrics.confusion_matrix(labels, probabilities.argmax(axis=1), len(names))
    correct = int(np.trace(table))
    support, recalls = table.sum(axis=1), metrics.recall(table)
    columns = {
        "specificity": metrics.specificity(table),
        "f1": metrics.f1(table),
        "auc": metrics.one_vs_rest_auc(labels, probabilities),
    }
    per_class = {
        name: {
            "support": int(support[index]),
            "precision": round(float(metrics.precision(table)[index]), 4),
            "recall": rounded(recalls[index]),
            "recall_interval": [round(x, 4) for x in metrics.wilson_interval(int(table[index, index]), int(support[index]))],
            **{column: rounded(values[index]) for column, values in columns.items()},
        }
        for index, name in enumerate(names)
    }
    reading = HeadReading(labels, probabilities, names)
    found = dict(zip(HEADLINE, with_intervals(lambda index: headline(reading, index), len(labels)), strict=True))
    return {
        "count": len(labels),
        **{name: value for name, (value, _, _) in found.items()},
        "accuracy_interval": [round(x, 4) for x in metrics.wilson_interval(correct, len(labels))],
        "intervals": {name: [low, high] for name, (_, low, high) in found.items()},
        "per_class": per_class,
        "confusion": table.tolist(),
        "classes": list(names),
    }


def assess_readings(
    readings: Mapping[str, HeadReading],
    twin: npt.NDArray[np.bool_],
    *,
    data: str,
    split: str,
    weights: str,
    views: Views = "mirror",
) -> dict[str, Any]:
    """Figures of every head, and again without the faces that ``twin`` (N,) marks: those that also stand in train."""
    report: dict[str, Any] = {"weights": weights, "data": data, "split": split, "test_time": VIEW_TITLES[views]}
    report["bootstrap"] = dict(BOOTSTRAP)
    report["twins_in_train"] = int(twin.sum())
    report["heads"] = {}
    for head, reading in readings.items():
        known = reading.labels >= 0
        report["heads"][head] = {"all": score(reading.labels[known], reading.probabilities[known], reading.names)}
        apart = known & ~twin
        if (known & twin).any() and apart.any():
            part = score(reading.labels[apart], reading.probabilities[apart], reading.names)
            report["heads"][head]["without_twins"] = part
    return report


def format_table(report: Mapping[str, Any]) -> str:
    """The report as lines for a terminal."""
    lines = [f"{report['weights']} on {report['data']} {report['split']} ({report['test_time']})"]
    for head, entry in report["heads"].items():
        for part, figures in entry.items():
            low, high = figures["accuracy_interval"]
            title = HEAD_TITLES[head] + (", without twins in train" if part == "without_twins" else "")
            lines += [
                "",
                f"{title}: {figures['count']} faces",
                f"  accuracy {figures['accuracy']:.3f} (95 % {low:.3f} to {high:.3f})   balanced accuracy "
                f"{figures['balanced_accuracy']:.3f}   macro F1 {figures['macro_f1']:.3f}   calibration error "
                f"{figures['expected_calibration_error']:.3f}",
            ]
            if part == "without_twins":
                continue
            lines.append(
                f"  {'class':<10} {'n':>5} {'precision':>9} {'recall':>7} {'95 %':>13} {'specificity':>11} {'F1':>6} {'AUC':>6}"
            )
            for name, row in figures["per_class"].items():
                if row["support"] == 0:
                    continue
                low, high = row["recall_interval"]
                lines.append(
                    f"  {name:<10} {row['support']:>5} {row['precision']:>9.3f} {row['recall']:>7.3f} "
                    f"{low:>6.2f}-{high:<6.2f} {_cell(row['specificity'], 11)} {row['f1']:>6.3f} {_cell(row['auc'], 6)}"
                )
    return "\n".join(lines)


def _cell(value: float | None, width: int) -> str:
    return "–".rjust(width) if value is None else f"{value:>{width}.3f}"


def draw_confusions(report: Mapping[str, Any], folder: Path) -> list[Path]:
    """One PNG per head: rows true class, columns predicted, cells share of the row and count."""
    paths = []
    for head, entry in report["heads"].items():
        paths.append(folder / f"confusion-{head}.png")
        table = np.array(entry["all"]["confusion"])
        atomic_write_bytes(paths[-1], confusion_png(table, entry["all"]["classes"], HEAD_TITLES[head]))
    return paths


def draw_changes(before: Mapping[str, Any], after: Mapping[str, Any], folder: Path) -> list[Path]:
    """One PNG per head that both reports have: what moved in the confusion matrix."""
    paths = []
    for head, entry in after["heads"].items():
        if head in before["heads"]:
            paths.append(folder / f"confusion-change-{head}.png")
            old, new = (np.array(each["all"]["confusion"]) for each in (before["heads"][head], entry))
            atomic_write_bytes(paths[-1], confusion_change_png(old, new, entry["all"]["classes"], HEAD_TITLES[head]))
    return paths
