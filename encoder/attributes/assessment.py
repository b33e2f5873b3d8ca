"""How often the attribute probe agrees with the labels, and how often a data set shows each attribute."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder.attributes.labels import ATTRIBUTES
from encoder.data.face_set import FaceSet
from encoder.emotions import EMOTION_NAMES
from encoder.evaluation.metrics import area_under_curve, bootstrap, wilson_interval


def assess_attributes(
    labels: NDArray[np.bool_], probabilities: NDArray[np.floating], thresholds: NDArray[np.floating]
) -> dict[str, dict[str, Any]]:
    """For each attribute: positives, area under the curve, accuracy, balanced accuracy, precision and recall, each with its
    95 % interval.

    Shares have Wilson's interval, the two others one of 1,000 bootstraps; what cannot be computed (nothing shown, or nobody
    shows it) is None. Takes (N, A) labels and probabilities and (A,) thresholds.
    """
    return {
        name: _figures(labels[:, column], probabilities[:, column].astype(float), float(thresholds[column]))
        for column, name in enumerate(ATTRIBUTES)
    }


def _figures(positive: NDArray[np.bool_], scores: NDArray[np.float64], threshold: float) -> dict[str, Any]:
    shown = scores >= threshold

    def resampled(index: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.array([area_under_curve(positive[index], scores[index]), _balanced(positive[index], shown[index])])

    everyone = np.arange(len(positive))
    area, balanced = resampled(everyone)
    figures: dict[str, Any] = {"positives": int(positive.sum()), "threshold": round(threshold, 4)}
    both = 0 < figures["positives"] < len(positive)
    low, high = bootstrap(resampled, len(positive)) if both else (np.zeros(2), np.zeros(2))
    for place, (name, value) in enumerate((("area_under_curve", area), ("balanced_accuracy", balanced))):
        figures[name] = round(float(value), 4) if both else None
        figures[f"{name}_interval"] = [round(float(low[place]), 4), round(float(high[place]), 4)] if both else None
    hits = int((shown & positive).sum())
    for name, right, total in (
        ("accuracy", int((shown == positive).sum()), len(positive)),
        ("precision", hits, int(shown.sum())),
        ("recall", hits, int(positive.sum())),
    ):
        figures[name] = round(right / total, 4) if total else None
        figures[f"{name}_interval"] = [round(end, 4) for end in wilson_interval(right, total)] if total else None
    return figures


def _balanced(positive: NDArray[np.bool_], shown: NDArray[np.bool_]) -> float:
    if not positive.any() or positive.all():
        return float("nan")
    return 0.5 * float(shown[positive].mean() + (~shown[~positive]).mean())


def format_figures(figures: dict[str, dict[str, Any]], count: int, title: str) -> str:
    """The figures as lines for a terminal."""

    def cell(row: dict[str, Any], name: str) -> str:
        if row[name] is None:
            return f"{'–':>22}"
        low, high = row[f"{name}_interval"]
        return f"{row[name]:>7.3f} ({low:.3f}–{high:.3f})"

    columns = ("area_under_curve", "accuracy", "balanced_accuracy", "precision", "recall")
    lines = [
        f"{title}: {count} faces",
        f"  {'':<9}{'shown by':>9}" + "".join(f"{name.replace('_', ' '):>22}" for name in columns),
    ]
    for name, row in figures.items():
        lines.append(f"  {name:<9}{row['positives']:>9}" + "".join(f"{cell(row, column):>22}" for column in columns))
    return "\n".join(lines)


def shares(faces: FaceSet, shown: NDArray[np.bool_]) -> dict[str, dict[str, Any]]:
    """For ``all`` faces and those of each emotion that is there: count, share that shows each attribute, and share of
    ``dropped`` (unreal or text). ``shown`` is (N, A).
    """
    groups = {"all": np.ones(len(faces), bool)}
    groups |= {name: faces.labels == label for label, name in enumerate(EMOTION_NAMES)}
    drop = shown[:, ATTRIBUTES.index("unreal")] | shown[:, ATTRIBUTES.index("text")]
    table: dict[str, dict[str, Any]] = {}
    for group, members in groups.items():
        if members.any():
            row = {name: round(float(shown[members, column].mean()), 4) for column, name in enumerate(ATTRIBUTES)}
            table[group] = {"count": int(members.sum()), **row, "dropped": round(float(drop[members].mean()), 4)}
    return table


def format_shares(table: dict[str, dict[str, Any]]) -> str:
    """The shares as lines for a terminal."""
    names = (*ATTRIBUTES, "dropped")
    lines = [f"  {'':<10}{'faces':>7}" + "".join(f"{name:>9}" for name in names)]
    lines += [
        f"  {group:<10}{row['count']:>7}" + "".join(f"{100 * row[name]:>8.1f}%" for name in names) for group, row in table.items()
    ]
    return "\n".join(lines)
