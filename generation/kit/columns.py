"""The table of a set of stimuli: what each column is called and means, and the row of one face. The codebook is this list."""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

from encoder.emotions import EMOTION_NAMES, Emotion
from generation.faces import Face
from generation.kit.order import Cell

TOLD = ("gender", "age", "group", "hands", "eyes")


class Column(NamedTuple):
    """One column: what is in it, in which unit, between what, and who says so. ``kind`` is how it is stored."""

    name: str
    meaning: str
    unit: str
    range: str
    source: str
    kind: Literal["string", "double", "int64"] = "double"


def _read(prefix: str, who: str) -> tuple[Column, ...]:
    reading = "calibrated probability of {}, as {} reads the face"
    return (
        Column(f"{prefix}_top", f"likeliest emotion, as {who} reads the face", "name", ", ".join(EMOTION_NAMES), who, "string"),
        *(Column(f"{prefix}_{name}", reading.format(name, who), "probability", "0 to 1", who) for name in EMOTION_NAMES),
    )


COLUMNS = (
    Column("file", "picture, from the folder of the set", "path", "", "this program", "string"),
    Column("code", "what the rating sheet calls the face, so that it does not give the emotion away: the first ten digits of the "
           "picture's SHA-256", "hexadecimal", "", "this program", "string"),
    Column("person", "who is shown; all faces of a person come from one neutral face", "name", "p001 and up", "asked", "string"),
    Column("emotion", "emotion asked for", "name", ", ".join(EMOTION_NAMES), "asked", "string"),
    Column("intensity", "share of the emotion in what was asked, the rest is neutral; neutral itself stands at 1", "share",
           "above 0 to 1", "asked"),
    Column("seed", "seed of the person; with the weights it makes the faces again", "number", "0 and up", "asked", "int64"),
    Column("tries", "which draw of its seed the face is", "number", "1 to max_tries", "this program", "int64"),
    Column("drawn", "draws that were made for this emotion and intensity of this person", "number", "1 to max_tries",
           "this program", "int64"),
    Column("match", "overlap of what was asked and what the encoder reads, sum of the smaller of both", "share",
           "threshold to 1", "encoder"),
    *_read("read", "the encoder, which selected the faces"),
    *_read("judge", "the second judge, which selected nothing"),
    Column("realism", "share of real faces that look less real", "share", "realism bar to 1", "critic, which selected the faces"),
    Column("critic_judge", "share of real faces that look less real", "share", "0 to 1", "second critic, which selected nothing"),
    Column("seen_hands", "probability that a hand or an object is before the face", "share", "0 to 1",
           "probe, which selected the faces"),
    Column("seen_closed", "probability that no eye is open", "share", "0 to 1", "probe, which selected the faces"),
    Column("face_score", "how sure the detector is of a face", "share", "0 to 1", "detector, which selected the faces"),
    Column("neutral_distance", "distance of the face from the person's neutral face; 0 for that face itself",
           "of the embedder, see the card", "0 and up", "embedder, which selected nothing"),
    Column("nearest_difference", "difference from the nearest face of the data set of --nearest, mirrored or not: root mean "
           "square over averages of 16 × 16 fields", "grey levels", "0 to 255", "this program"),
    Column("nearest_face", "that face's name in its data set", "name", "", "the data set of --nearest", "string"),
    *(Column(name, f"{name} that the generator was told; what the face shows may differ, and says nothing of anybody", "name", "",
             "asked", "string") for name in TOLD),
)  # fmt: skip


def row_of(
    file: str, code: str, person: str, cell: Cell, face: Face, drawn: int, said: dict[str, Any], nearest: str | None
) -> dict[str, Any]:
    """The facts of one face under the names of ``COLUMNS``; None where nobody says anything.

    Args:
        said: what :meth:`generation.kit.opinions.Opinions.ask` said of it.
    """
    verdict, judge = face.verdict, [_known(p) for p in said["judge"]]
    judged = None if judge[0] is None else max(Emotion, key=lambda emotion: said["judge"][emotion]).label
    row: dict[str, Any] = {
        "file": file,
        "code": code,
        "person": person,
        "emotion": cell.emotion.label,
        "intensity": cell.level,
        "seed": face.seed,
        "tries": face.tries,
        "drawn": drawn,
        "match": round(verdict.match, 4),
        "read_top": verdict.top.label,
        **{f"read_{name}": round(p, 4) for name, p in zip(EMOTION_NAMES, verdict.distribution, strict=True)},
        "judge_top": judged,
        **{f"judge_{name}": p for name, p in zip(EMOTION_NAMES, judge, strict=True)},
        "realism": None if face.realism is None else round(face.realism, 4),
        "critic_judge": _known(said["critic_judge"]),
        "seen_hands": None if face.seen is None else round(face.seen.hands, 3),
        "seen_closed": None if face.seen is None else round(face.seen.closed, 3),
        "face_score": None if face.landmarks is None else round(face.landmarks.score, 3),
        "neutral_distance": _known(said["neutral_distance"]),
        "nearest_difference": _known(said["nearest_difference"]),
        "nearest_face": nearest,
    }
    return row | {name: face.told.get(name) for name in TOLD}


def _known(value: float) -> float | None:
    return None if math.isnan(value) else round(float(value), 4)
