"""The figures a training run left behind, as curves: ``metrics.jsonl`` beside the run's ``weights`` folder."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

MAX_POINTS = 160
LOSSES = ("loss", "fer2013", "ferplus")


def read_curves(weights: Path) -> dict[str, Any]:
    """Losses and validation figures of the run that made ``weights``, by step.

    The file is looked for in the folder above ``weights``, where training puts it, then inside. Lines that are no JSON object
    with a step (the last one of a run that was killed) are counted as ``broken_lines``; of a step that was done twice the
    later figures count. ``losses`` and ``valid`` hold (step, value) by name, thinned to ``MAX_POINTS`` by means; ``missing``
    says why there are no curves, or is None.
    """
    curves: dict[str, Any] = {"losses": {}, "valid": {}, "broken_lines": 0, "missing": None}
    file = next((f / "metrics.jsonl" for f in (weights.resolve().parent, weights) if (f / "metrics.jsonl").is_file()), None)
    if file is None:
        curves["missing"] = "No metrics.jsonl of a training run stands beside these weights, so there are no learning curves."
        return curves
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        curves["missing"] = f"{file.name} cannot be read ({error.strerror}), so there are no learning curves."
        return curves
    steps: dict[str, dict[int, float]] = {}
    for line in filter(str.strip, lines):
        try:
            row = json.loads(line)
            step = int(row["step"])
        except (ValueError, KeyError, TypeError, RecursionError, OverflowError):
            curves["broken_lines"] += 1
            continue
        for name, value in row.items():
            if isinstance(value, int | float) and math.isfinite(value):
                steps.setdefault(name, {})[step] = float(value)
    curves["losses"] = {name: _thinned(steps[name]) for name in LOSSES if name in steps}
    curves["valid"] = {
        name.removeprefix("valid/").replace("_", " "): _thinned(values)
        for name, values in steps.items()
        if name.startswith("valid/") and name.endswith(("accuracy", "macro_recall", "macro_f1"))
    }
    if not curves["losses"] and not curves["valid"]:
        curves["missing"] = f"{file.name} beside these weights holds no figures of an encoder's training."
    return curves


def _thinned(values: dict[int, float]) -> list[tuple[float, float]]:
    points = sorted(values.items())
    width = -(-len(points) // MAX_POINTS)
    chunks = [points[start : start + width] for start in range(0, len(points), width)]
    return [(chunk[-1][0], round(sum(value for _, value in chunk) / len(chunk), 5)) for chunk in chunks]
