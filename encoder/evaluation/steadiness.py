"""How steady an encoder's answer is when a face is moved, turned, scaled or stored badly: no labels are needed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from encoder.evaluation.readings import BOOTSTRAP, with_intervals
from encoder.inference.emotion_encoder import EmotionEncoder
from encoder.inference.views import mirrored_distributions
from encoder.pictures.changes import CHANGE_TITLES, CHANGES

# Faces that are changed and read together; as many as fit beside their floats in a few hundred megabytes.
_TOGETHER = 256


def assess_steadiness(encoder: EmotionEncoder, faces: NDArray[np.uint8], data: str) -> dict[str, Any]:
    """Read N faces as they are and after every variant of every change of :mod:`encoder.pictures.changes`.

    Args:
        faces: (N, S, S) uint8 grey at the size at which they are stored; at least one.
        data: what they are, for the report.

    Returns:
        per change, for their ``mean`` (each change counts the same) and for ``all`` (every variant of every change at once, a
        face is steady under all or not): ``unchanged``, the share of faces whose most probable emotion stays, and, but for
        ``all``, ``distance``, the mean total variation between the two distributions (0: the same, 1: nothing in common).
        Intervals are 95 %, bootstrapped over faces.
    """
    kept = np.empty((len(faces), len(CHANGES)))
    distance = np.empty_like(kept)
    every = np.ones(len(faces), bool)
    starts = range(0, len(faces), _TOGETHER)
    for start in tqdm(starts, desc=f"changing {data}", unit="batch", delay=1, leave=False, disable=None):
        part = slice(start, start + _TOGETHER)
        before = mirrored_distributions(encoder, faces[part])
        for number, variants in enumerate(CHANGES.values()):
            same, moved = [], []
            for change in variants:
                after = mirrored_distributions(encoder, np.stack([change(face) for face in faces[part]]))
                same.append(after.argmax(axis=1) == before.argmax(axis=1))
                moved.append(np.abs(after - before).sum(axis=1) / 2)
            kept[part, number], distance[part, number] = np.mean(same, axis=0), np.mean(moved, axis=0)
            every[part] &= np.all(same, axis=0)
    names = (*CHANGES, "mean")
    shares = np.column_stack([kept, kept.mean(axis=1), distance, distance.mean(axis=1), every])
    found = with_intervals(lambda index: shares[index].mean(axis=0), len(faces))
    rows: dict[str, dict[str, Any]] = {name: {} for name in (*names, "all")}
    for name, figure, (value, low, high) in zip(
        (*names, *names, "all"), (*["unchanged"] * len(names), *["distance"] * len(names), "unchanged"), found, strict=True
    ):
        rows[name] |= {figure: value, f"{figure}_interval": [low, high]}
    return {"data": data, "faces": len(faces), "size": faces.shape[1], "bootstrap": dict(BOOTSTRAP), "changes": rows}


TITLES: Mapping[str, str] = {**CHANGE_TITLES, "mean": "mean of the five changes", "all": "under all ten variants at once"}


def steadiness_lines(found: Mapping[str, Any]) -> list[str]:
    """The figures as lines for a terminal."""
    lines = [f"answer unchanged, {found['data']}: {found['faces']} faces of {found['size']} pixels"]
    for name, row in found["changes"].items():
        low, high = row["unchanged_interval"]
        moved = f"   distribution moves by {row['distance']:.3f}" if "distance" in row else ""
        lines.append(f"  {TITLES[name]:<38} {row['unchanged']:.3f} (95 % {low:.3f} to {high:.3f}){moved}")
    return lines
