"""What a data set holds, as a report and as a table for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from encoder.data.duplicates import count_duplicates
from encoder.data.face_set import FaceSet, Split
from encoder.emotions import EMOTION_NAMES, FERPLUS_NAMES

_SHOWN_PROBLEMS = 20


def report(splits: Mapping[Split, FaceSet]) -> dict[str, Any]:
    """What the splits hold, as plain values for JSON.

    Keys: ``source``, ``size``, ``faces``, ``labels`` and ``majority`` (counts per split and class), ``voted`` (faces
    with FER+ votes that are left by its protocol), ``duplicates`` (per ordered pair of splits), ``notes`` and
    ``problems`` (one line each).
    """
    first = next(iter(splits.values()))
    return {
        "source": first.source,
        "size": int(first.images.shape[1]),
        "faces": {split: len(faces) for split, faces in splits.items()},
        "labels": {split: _counts(faces.labels, (*EMOTION_NAMES, "unknown")) for split, faces in splits.items()},
        "voted": {split: int((faces.votes.sum(axis=1) > 0).sum()) for split, faces in splits.items()},
        "majority": {split: _counts(faces.majority(), (*FERPLUS_NAMES, "none")) for split, faces in splits.items()},
        "duplicates": [
            {"split": d.split, "other": d.other, "faces": d.faces, "labels_agree": d.agreeing, "labels_differ": d.differing}
            for d in count_duplicates(splits)
        ],
        # A row whose split is unreadable is reported by every split: once is enough.
        "notes": list(dict.fromkeys(note for faces in splits.values() for note in faces.notes)),
        "problems": list(dict.fromkeys(line for faces in splits.values() for line in faces.problems)),
    }


def _counts(classes: Any, names: Sequence[str]) -> dict[str, int]:
    """Count of each class; the last name takes those of index -1."""
    counted = np.bincount(np.asarray(classes, np.int64) % len(names), minlength=len(names))
    return dict(zip(names, counted.tolist(), strict=True))


def table(facts: Mapping[str, Any]) -> str:
    """The report for people to read."""
    splits = list(facts["faces"])
    lines = [f"{facts['source']}: {sum(facts['faces'].values()):,} faces of {facts['size']}x{facts['size']} pixels", ""]

    def row(title: str, cells: Mapping[str, int | str]) -> None:
        shown = (f"{cells[split]:,}" if isinstance(cells[split], int) else str(cells[split]) for split in splits)
        lines.append(f"{title:<26}" + "".join(f"{cell:>10}" for cell in shown))

    row("label", {split: split for split in splits})
    for name in (*EMOTION_NAMES, "unknown"):
        cells = {split: facts["labels"][split][name] for split in splits}
        if name != "unknown" or any(cells.values()):
            row(f"  {name}", cells)
    row("  all", facts["faces"])
    lines.append("")
    if any(facts["voted"].values()):
        row("FER+ votes", {split: split for split in splits})
        row("  faces with usable votes", facts["voted"])
        for name in FERPLUS_NAMES:
            row(f"  majority {name}", {split: facts["majority"][split][name] for split in splits})
        kept = {split: facts["faces"][split] - facts["majority"][split]["none"] for split in splits}
        row("  majority of any class", kept)
    else:
        lines.append("FER+ votes: none")
    lines += ["", f"{'pixel-identical faces':<26}{'faces':>10}{'same label':>12}{'other label':>12}"]
    for found in facts["duplicates"]:
        inside = found["split"] == found["other"]
        title = f"  twice within {found['split']}" if inside else f"  {found['split']}, twin in {found['other']}"
        lines.append(f"{title:<26}{found['faces']:>10,}{found['labels_agree']:>12,}{found['labels_differ']:>12,}")
    lines += ["", *(f"note: {note}" for note in facts["notes"])]
    problems = facts["problems"]
    lines.append(f"skipped: {len(problems):,} rows or files" if problems else "no unreadable rows or files")
    lines += [f"  {line}" for line in problems[:_SHOWN_PROBLEMS]]
    if len(problems) > _SHOWN_PROBLEMS:
        lines.append(f"  ... and {len(problems) - _SHOWN_PROBLEMS:,} more (--json FILE lists all)")
    return "\n".join(lines)
