"""Figures of trained rows with intervals over test faces and seeds, and the table in Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from encoder.emotions import EMOTION_NAMES, NUM_EMOTIONS
from encoder.evaluation.metrics import accuracy, confusion_matrix, macro_f1, recall
from engine.storage.atomic import atomic_write_text

Labels = npt.NDArray[np.int64]
ROUNDS = 1000
FIGURES = ("accuracy", "balanced_accuracy", "macro_f1", *(f"recall_{name}" for name in EMOTION_NAMES))


def figures_of(labels: Labels, predictions: Sequence[Labels], *, rounds: int = ROUNDS, seed: int = 0) -> dict[str, Any]:
    """Mean over trainings of every figure of ``FIGURES``, each with its bootstrap interval and the single values.

    Args:
        labels: (N,) classes; faces with -1 are left out.
        predictions: one (N,) array a training seed.
    """
    samples = resampled(labels, predictions, rounds=rounds, seed=seed)
    single = [_all_figures(confusion_matrix(*_known(labels, found), NUM_EMOTIONS)) for found in predictions]
    result = {}
    for position, name in enumerate(FIGURES):
        values = [row[position] for row in single]
        column = samples[:, position]
        there = column[~np.isnan(column)]
        low, high = np.percentile(there, [2.5, 97.5]) if len(there) else (np.nan, np.nan)
        result[name] = {
            "value": _rounded(float(np.mean(values))),
            "interval": [_rounded(float(low)), _rounded(float(high))],
            "by_seed": [_rounded(value) for value in values],
        }
    return result


def compared(
    labels: Labels, one: Sequence[Labels], two: Sequence[Labels], *, ratio: bool = False, rounds: int = ROUNDS, seed: int = 0
) -> dict[str, Any]:
    """Every figure of ``one`` minus (or divided by) that of ``two``, over the same resampled test faces."""
    everything = [figures_of(labels, found, rounds=1) for found in (one, two)]
    a, b = (resampled(labels, found, rounds=rounds, seed=seed) for found in (one, two))
    result: dict[str, Any] = {}
    for position, name in enumerate(FIGURES):
        first, second = (found[name]["value"] for found in everything)
        with np.errstate(divide="ignore", invalid="ignore"):
            column = a[:, position] / b[:, position] if ratio else a[:, position] - b[:, position]
        there = column[np.isfinite(column)]
        if first is None or second is None or not len(there) or (ratio and second == 0):
            result[name] = {"value": None, "interval": [None, None]}
            continue
        low, high = np.percentile(there, [2.5, 97.5])
        value = first / second if ratio else first - second
        result[name] = {"value": _rounded(value), "interval": [_rounded(float(low)), _rounded(float(high))]}
    return result


def resampled(labels: Labels, predictions: Sequence[Labels], *, rounds: int, seed: int) -> npt.NDArray[np.float64]:
    """(rounds, figures) values of the mean over trainings, test faces and trainings drawn anew in every round.

    The faces drawn depend on ``seed`` and the number of labels alone, so that two rows can be compared pair by pair.
    """
    known = labels >= 0
    count = int(known.sum())
    codes = [labels[known] * NUM_EMOTIONS + found[known] for found in predictions]
    faces, trainings = np.random.default_rng((seed, 0)), np.random.default_rng((seed, 1, len(codes)))
    values = np.empty((rounds, len(FIGURES)))
    for number in range(rounds):
        index = faces.integers(0, count, count)
        chosen = trainings.integers(0, len(codes), len(codes))
        tables = (np.bincount(codes[k][index], minlength=NUM_EMOTIONS**2).reshape(NUM_EMOTIONS, NUM_EMOTIONS) for k in chosen)
        values[number] = np.mean([_all_figures(table) for table in tables], axis=0)
    return values


def _all_figures(table: npt.NDArray[np.int64]) -> list[float]:
    """The figures of ``FIGURES`` of one (7, 7) confusion matrix."""
    recalls = recall(table)
    return [accuracy(table), float(np.nanmean(recalls)), macro_f1(table), *(float(value) for value in recalls)]


def _known(labels: Labels, predictions: Labels) -> tuple[Labels, Labels]:
    return labels[labels >= 0], predictions[labels >= 0]


def _rounded(value: float) -> float | None:
    return None if np.isnan(value) else round(value, 4)


def write_tables(
    folder: Path, name: str, content: Mapping[str, Any], columns: Sequence[str], rows: Sequence[Sequence[Any]]
) -> str:
    """Write ``name.json`` (everything), ``name.csv`` and ``name.md`` (the table); returns the Markdown.

    A cell is text, a number, None, or a figure with ``value`` and ``interval``, which takes three columns of the CSV.
    """
    heading = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    body = [f"| {' | '.join(_cell(cell) for cell in row)} |" for row in rows]
    notes = [str(note) for note in content.get("notes", ())]
    markdown = "\n".join([*heading, *body, "", *notes]) + "\n"
    flat, stream = [], io.StringIO()
    for row in rows:
        line: dict[str, Any] = {}
        for column, cell in zip(columns, row, strict=True):
            if isinstance(cell, Mapping):
                line |= {column: cell["value"], f"{column}, low": cell["interval"][0], f"{column}, high": cell["interval"][1]}
            else:
                line[column] = cell
        flat.append(line)
    fields = list(dict.fromkeys(key for line in flat for key in line))
    writer = csv.DictWriter(stream, fields, lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    atomic_write_text(folder / f"{name}.json", json.dumps(content, indent=2, allow_nan=False) + "\n")
    atomic_write_text(folder / f"{name}.csv", stream.getvalue())
    atomic_write_text(folder / f"{name}.md", markdown)
    return markdown


def _cell(cell: Any) -> str:
    if cell is None:
        return "–"
    if isinstance(cell, Mapping):
        if cell["value"] is None:
            return "–"
        low, high = cell["interval"]
        return f"{cell['value']:.3f}" + ("" if low is None else f" ({low:.3f} to {high:.3f})")
    return f"{cell:,}" if isinstance(cell, int) else str(cell)
