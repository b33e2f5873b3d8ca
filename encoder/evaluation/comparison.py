"""Two encoders on the same faces, before and after: differences with paired intervals, and where the confusions moved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder.evaluation import metrics
from encoder.evaluation.readings import HEAD_TITLES, HeadReading, paired_difference, rounded, with_intervals

Readings = Mapping[str, HeadReading]


def compare_readings(first: Readings, others: Mapping[str, Readings], baseline: str) -> dict[str, Any]:
    """Per head that the models have in common, each of ``others`` by name against ``first``, which is called ``baseline``.

    ``differences``: of the headline figures, see :func:`encoder.evaluation.readings.paired_difference`. ``recalls``: of the
    recall of each class with labelled faces, in the same form. ``confusions``: of the confusion matrices as shares of each
    row, (C, C); a row of a class without faces is zero.
    """
    heads = {}
    for head, reading in first.items():
        having = {name: readings[head] for name, readings in others.items() if head in readings}
        if having:
            heads[head] = {
                "title": HEAD_TITLES[head],
                "baseline": baseline,
                "classes": list(reading.names),
                "differences": {name: paired_difference(other, reading) for name, other in having.items()},
                "recalls": {name: recall_differences(other, reading) for name, other in having.items()},
                "confusions": {name: (_shares(each) - _shares(reading)).round(4).tolist() for name, each in having.items()},
            }
    return heads


def recall_differences(other: HeadReading, first: HeadReading) -> dict[str, dict[str, float | None]]:
    """Recall of each class of ``other`` minus that of ``first`` on the same faces, with 95 % intervals over the same resamples.

    Classes without a face are left out.
    """
    known = first.labels >= 0
    a, b = other.at(known), first.at(known)
    there = np.unique(b.labels)

    def difference(index: NDArray[np.int64]) -> NDArray[np.float64]:
        recalls = [metrics.recall(_confusion(reading.at(index))) for reading in (a, b)]
        return (recalls[0] - recalls[1])[there]

    found = with_intervals(difference, len(b.labels))
    return {
        b.names[number]: dict(zip(("difference", "low", "high"), row, strict=True))
        for number, row in zip(there.tolist(), found, strict=True)
    }


def _confusion(reading: HeadReading) -> NDArray[np.int64]:
    return metrics.confusion_matrix(reading.labels, reading.probabilities.argmax(axis=1), len(reading.names))


def _shares(reading: HeadReading) -> NDArray[np.float64]:
    table = _confusion(reading.at(reading.labels >= 0))
    return table / np.maximum(table.sum(axis=1, keepdims=True), 1)


def comparison_lines(comparison: Mapping[str, Any]) -> list[str]:
    """The differences as lines for a terminal, a block for each head and model."""
    lines = []
    for head in comparison.values():
        for name, differences in head["differences"].items():
            lines.append(f"{name} minus {head['baseline']}, {head['title']} (95 %, paired by face)")
            for figure, row in (differences | head["recalls"][name]).items():
                title = figure.replace("_", " ") if figure in differences else f"recall of {figure}"
                lines.append(f"  {title:<28} {row['difference']:+.4f}  ({_signed(row['low'])} to {_signed(row['high'])})")
    return lines


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{value:+.4f}"


def spread_of(figures: Sequence[Mapping[str, Any]], seeds: Sequence[int | None]) -> dict[str, Any]:
    """Mean and standard deviation of trainings of one recipe.

    Args:
        figures: the evaluations of at least two trainings on the same faces.
        seeds: what each training says its seed was; None: it does not say.

    Returns:
        ``rows``: per figure ``name``, ``values``, ``mean``, and ``deviation`` (of the sample, n - 1). A figure that one of the
        trainings lacks is left out.
    """
    columns = [_figures_of(each) for each in figures]
    rows = []
    for name in columns[0]:
        values = [column.get(name) for column in columns]
        if None not in values:
            mean, deviation = np.mean(values), np.std(np.array(values, float), ddof=1)  # type: ignore[arg-type]
            rows.append({"name": name, "values": values, "mean": rounded(mean), "deviation": rounded(deviation)})  # type: ignore[arg-type]
    return {"weights": [each["weights"] for each in figures], "seeds": list(seeds), "rows": rows}


def _figures_of(figures: Mapping[str, Any]) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for head, title in HEAD_TITLES.items():
        if head not in figures["heads"]:
            continue
        scheme, part = title.split(",")[0].split(" (")[0], figures["heads"][head]["all"]
        found |= {f"{scheme}: accuracy": part["accuracy"], f"{scheme}: macro recall": part["balanced_accuracy"]}
        found |= {f"{scheme}: recall of {name}": part["per_class"][name]["recall"] for name in ("disgust", "fear")}
        found[f"{scheme}: calibration error"] = part["expected_calibration_error"]
    for steady in figures.get("steadiness", ()):
        found[f"answer unchanged, {steady['data']}"] = steady["changes"]["mean"]["unchanged"]
    for name, row in figures.get("photographs", {}).get("expressions", {}).items():
        found[f"{name} read as {row['emotion']}"] = row["share"]
    return found


def spread_lines(spread: Mapping[str, Any]) -> list[str]:
    """The table as lines for a terminal."""
    seeds = ", ".join("unknown" if seed is None else str(seed) for seed in spread["seeds"])
    lines = [f"{len(spread['weights'])} trainings, seeds {seeds}: mean, standard deviation, each"]
    for row in spread["rows"]:
        each = " ".join(f"{value:.3f}" for value in row["values"])
        lines.append(f"  {row['name']:<40} {row['mean']:.3f} ± {row['deviation']:.3f}   {each}")
    return lines
