"""The whole way of a photograph, from file to answer, on people who were asked to look neutral and to smile."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from encoder.analysis.analyzer import FaceAnalyzer
from encoder.analysis.rows import FaceRow
from encoder.data.posed_photographs import PosedPhotographs
from encoder.detection.face import DetectedFace
from encoder.emotions import EMOTION_NAMES
from encoder.evaluation.metrics import wilson_interval
from encoder.pictures.sources import view_arrays

# What each expression should be read as.
READ_AS = {"smiling": "happiness", "neutral": "neutral"}
# An upright, frontal face: its eyes are level to so many degrees, and the mouth is so many eye distances below them.
_LEVEL_DEGREES, _MOUTH_BELOW = 15.0, (0.6, 1.4)


def assess_expressions(analyzer: FaceAnalyzer, photographs: PosedPhotographs, detector: str) -> dict[str, Any]:
    """Find, crop and read every photograph as any user's; the largest face counts. ``detector``: its name, for the report.

    Returns:
        ``expressions``: for ``smiling`` and ``neutral`` how many ``photographs``, how many were read as happiness or neutral
        (``right``, a photograph without a face is not), the ``share`` with Wilson's 95 % ``interval``, the mean ``probability``
        of that emotion where a face was found, and what the photographs were ``read_as``. ``detection``: photographs with a
        face ``found``, with ``several``, and with ``eyes_in_place`` (see :func:`eyes_in_place`).
    """
    rows = [reading.rows for reading in analyzer.stream(view_arrays(list(photographs.pictures)))]
    largest = [faces[0] for faces in rows]
    expressions = {}
    for expression, emotion in READ_AS.items():
        chosen = [row for row, shown in zip(largest, photographs.expression, strict=True) if shown == expression]
        right = sum(row.emotion == emotion for row in chosen)
        sure = [row.distribution[EMOTION_NAMES.index(emotion)] for row in chosen if row.distribution is not None]
        expressions[expression] = {
            "photographs": len(chosen),
            "emotion": emotion,
            "right": right,
            **_share(right, len(chosen)),
            "probability": round(float(np.mean(sure)), 4) if sure else None,
            "read_as": dict(Counter(row.emotion or "no face" for row in chosen).most_common()),
        }
    return {
        "people": len(set(photographs.person)),
        "detector": detector,
        "expressions": expressions,
        "detection": {
            "photographs": len(photographs),
            "found": _counted([row.distribution is not None for row in largest]),
            "eyes_in_place": _counted([_eyes_of(row) for row in largest]),
            "several": sum(len(faces) > 1 for faces in rows),
        },
    }


def _share(count: int, total: int) -> dict[str, Any]:
    return {"share": round(count / total, 4), "interval": [round(end, 4) for end in wilson_interval(count, total)]}


def _counted(marks: Sequence[bool]) -> dict[str, Any]:
    return {"count": sum(marks), **_share(sum(marks), len(marks))}


def _eyes_of(row: FaceRow) -> bool:
    return row.box is not None and eyes_in_place(DetectedFace(row.box, landmarks=row.landmarks))


def eyes_in_place(face: DetectedFace) -> bool:
    """Whether the found points can be those of an upright, frontal face.

    Both eyes lie in the box and are level to 15 degrees; the mouth lies 0.6 to 1.4 eye distances below their middle. This is
    geometry: it is not compared with points that somebody set by hand.
    """
    eyes, mouth = face.eyes, face.mouth
    if eyes is None or mouth is None:
        return False
    x, y, width, height = face.box
    inside = ((eyes >= (x, y)) & (eyes <= (x + width, y + height))).all()
    across, down = (eyes[1] - eyes[0]).tolist()
    apart = float(np.hypot(across, down))
    below = float(mouth[1] - eyes[:, 1].mean()) / max(apart, 1e-6)
    level = abs(np.degrees(np.arctan2(down, across))) <= _LEVEL_DEGREES
    return bool(inside and level and _MOUTH_BELOW[0] <= below <= _MOUTH_BELOW[1])


def expressions_lines(found: Mapping[str, Any]) -> list[str]:
    """The figures as lines for a terminal."""
    detection = found["detection"]
    lines = [f"photographs, from detection to answer: {found['people']} people, detector {found['detector']}"]
    for name, row in found["expressions"].items():
        low, high = row["interval"]
        answers = ", ".join(f"{answer} {count}" for answer, count in row["read_as"].items())
        title = f"{name} read as {row['emotion']}"
        lines.append(f"  {title:<26} {row['right']:>3} of {row['photographs']} (95 % {low:.3f} to {high:.3f})   all: {answers}")
    for name in ("found", "eyes_in_place"):
        low, high = detection[name]["interval"]
        title = {"found": "a face found", "eyes_in_place": "eyes in place"}[name]
        lines.append(f"  {title:<26} {detection[name]['count']:>3} of {detection['photographs']} (95 % {low:.3f} to {high:.3f})")
    return [*lines, f"  more than one face found   {detection['several']:>3}"]
