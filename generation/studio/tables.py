"""Readings as tables: rows for the page, CSV for programs, and the course of a video."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any, NamedTuple

from encoder.emotions import FERPLUS_NAMES
from generation.service.orders import ReadFace, ReadResult
from generation.studio.photos import said_of
from generation.studio.texts import Texts

_HEAD = ("file", "frame", "time", "face", "left", "top", "width", "height", "score", "emotion")
# Programs for tables take what begins so for a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


class Named(NamedTuple):
    """What was read of one file. ``data``, ``shown``: its bytes, and how the page shows it; None of a video."""

    name: str
    read: ReadResult
    data: bytes | None
    shown: str | None


def rows_of(done: Sequence[Named], t: Texts) -> list[list[str]]:
    """Picture, time, face, box and reading of each face, as the page shows them."""
    return [
        [
            harmless(each.name),
            "–" if face.time is None else f"{t.number(face.time, 2)} s",
            str((face.face or 0) + 1),
            "–" if face.box is None else ", ".join(map(str, face.box)),
            said_of(face, t),
        ]
        for each, face in _faces(done)
    ]


def csv_of(done: Sequence[Named]) -> bytes:
    """A line a face, with all probabilities; numbers and names as in English."""
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow((*_HEAD, *FERPLUS_NAMES))
    for each, face in _faces(done):
        read = face.distribution or {}
        own = (harmless(each.name), face.frame, face.time, face.face, *(face.box or ("",) * 4), face.score, face.emotion)
        writer.writerow((*own, *(read.get(name, "") for name in FERPLUS_NAMES)))
    return out.getvalue().encode()


def timeline_of(done: Sequence[Named], t: Texts) -> Any:
    """The emotions of the largest face of each frame of the first video, as a table of pandas; None without a video."""
    import pandas as pd

    film = next((each for each in done if each.data is None), None)
    first = {} if film is None else {face.time: face for face in reversed(film.read.faces) if face.time is not None}
    lines = [
        {"time": time, "share": share, "emotion": t.words.get(f"emotion.{name}", name)}
        for time, face in sorted(first.items())
        for name, share in (face.distribution or {}).items()
    ]
    return pd.DataFrame(lines, columns=["time", "share", "emotion"]) if lines else None


def harmless(name: str) -> str:
    """A file's name that no program for tables takes for a formula."""
    return f"'{name}" if name.startswith(_FORMULA) else name


def _faces(done: Sequence[Named]) -> list[tuple[Named, ReadFace]]:
    return [(each, face) for each in done for face in each.read.faces if face.problem is None]
