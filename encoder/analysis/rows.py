"""One face as a row of results, and the rows of many pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from encoder.emotions import EMOTION_NAMES

NO_FACE = "no face found"


@dataclass(frozen=True, eq=False)
class FaceRow:
    """One face, or, where ``problem`` is set, one picture without a result.

    Attributes:
        source, frame, time: see :class:`encoder.pictures.sources.View`.
        face: number within the picture, the largest is 0.
        box: left, top, width, height in pixels of the file.
        score: of the detector, on its own scale.
        distribution: seven probabilities in :class:`encoder.emotions.Emotion` order.
        landmarks: (K, 2) float x and y in pixels of the file.
        whole_picture: the picture is a crop already and was read whole; its box is the whole picture.
        gender, gender_probability: "female" or "male" and its probability, if asked for.
        identity, identity_distance: nearest person of the gallery, None where none is near enough or none was asked for.
        person: number of the person in a video, from 1, where people were followed (:mod:`encoder.timelines.tracking`).
        units: answers of an :class:`encoder.analysis.action_units.ActionUnitReader` by column, if asked for; None for all
            where it found no face.
        problem: why there is no face here; every other field but the first three is then None.
    """

    source: str
    frame: int | None = None
    time: float | None = None
    face: int | None = None
    box: tuple[int, int, int, int] | None = None
    score: float | None = None
    distribution: tuple[float, ...] | None = None
    landmarks: NDArray[np.float32] | None = None
    whole_picture: bool | None = None
    gender: str | None = None
    gender_probability: float | None = None
    identity: str | None = None
    identity_distance: float | None = None
    person: int | None = None
    units: Mapping[str, float | None] | None = None
    problem: str | None = None

    @property
    def emotion(self) -> str | None:
        """Name of the most probable emotion."""
        return None if self.distribution is None else EMOTION_NAMES[int(np.argmax(self.distribution))]

    @property
    def place(self) -> str:
        """The file, and for videos the second."""
        return self.source if self.time is None else f"{self.source} at {self.time:.2f} s"

    def as_record(self, *, landmarks: bool = False, units: Sequence[str] = (), person: bool = False) -> dict[str, Any]:
        """The row as plain values, in the order of the columns; ``units`` are the columns of action units that there are."""
        x, y, w, h = self.box or (None,) * 4
        probabilities = self.distribution or (None,) * len(EMOTION_NAMES)
        record: dict[str, Any] = {
            "source": self.source,
            "frame": self.frame,
            "time": _rounded(self.time),
            "face": self.face,
            **({"person": self.person} if person else {}),
            **{"x": x, "y": y, "width": w, "height": h},
            "score": _rounded(self.score),
            "whole_picture": self.whole_picture,
            "emotion": self.emotion,
            **{name: _rounded(value) for name, value in zip(EMOTION_NAMES, probabilities, strict=True)},
            "gender": self.gender,
            "gender_probability": _rounded(self.gender_probability),
            "identity": self.identity,
            "identity_distance": _rounded(self.identity_distance),
            **{name: _rounded((self.units or {}).get(name)) for name in units},
        }
        if landmarks:
            record["landmarks"] = None if self.landmarks is None else np.round(self.landmarks, 2).astype(float).tolist()
        return record | {"problem": self.problem}


@dataclass(frozen=True)
class PlainRow:
    """A row of any other table: its values by column."""

    values: Mapping[str, Any]

    def as_record(self, *, landmarks: bool = False, units: Sequence[str] = (), person: bool = False) -> dict[str, Any]:
        """The values as they are; what is asked of faces is nothing to it."""
        return dict(self.values)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(float(value), 6)


def to_dataframe(rows: Sequence[FaceRow], *, landmarks: bool = False) -> Any:
    """The rows as a ``pandas.DataFrame`` with the columns of the files; whole numbers stay whole where cells are empty."""
    import pandas as pd

    units = tuple(dict.fromkeys(name for row in rows for name in row.units or ()))
    how: dict[str, Any] = {"landmarks": landmarks, "units": units, "person": any(row.person is not None for row in rows)}
    columns = list(FaceRow("").as_record(**how))
    frame = pd.DataFrame([row.as_record(**how) for row in rows], columns=columns)
    whole = tuple(name for name in ("frame", "face", "person", "x", "y", "width", "height") if name in columns)
    real = ("time", "score", *EMOTION_NAMES, "gender_probability", "identity_distance", *units)
    return frame.astype(dict.fromkeys(whole, "Int64") | dict.fromkeys(real, "float64") | {"whole_picture": "boolean"})


@dataclass(frozen=True, eq=False, repr=False)
class Analysis:
    """The faces of many pictures, in the order of the pictures.

    Attributes:
        rows: one a face, and one for every picture without a face and every problem.

    ``len(analysis)``, ``analysis[0]`` and ``for face in analysis`` are about the faces; a notebook shows all rows.
    """

    rows: tuple[FaceRow, ...]

    def __len__(self) -> int:
        return len(self.faces)

    @overload
    def __getitem__(self, key: int) -> FaceRow: ...
    @overload
    def __getitem__(self, key: slice) -> tuple[FaceRow, ...]: ...

    def __getitem__(self, key: int | slice) -> FaceRow | tuple[FaceRow, ...]:
        return self.faces[key]

    def __iter__(self) -> Iterator[FaceRow]:
        return iter(self.faces)

    def __repr__(self) -> str:
        shown = ", ".join(f"{face.emotion} ({face.source})" for face in self.faces[:3])
        more = ", …" if len(self) > 3 else ""
        problems = self.problems
        failed = f"; {len(problems)} problem{'' if len(problems) == 1 else 's'}, first {problems[0]}" if problems else ""
        return f"Analysis({len(self)} face{'' if len(self) == 1 else 's'}{': ' if shown else ''}{shown}{more}{failed})"

    def _repr_html_(self) -> str:
        return str(self.to_dataframe().dropna(axis=1, how="all").round(3)._repr_html_())

    @property
    def faces(self) -> tuple[FaceRow, ...]:
        """The rows that are faces."""
        return tuple(row for row in self.rows if row.problem is None)

    @property
    def problems(self) -> tuple[str, ...]:
        """One line for each picture that could not be read; a picture without a face is none."""
        return tuple(f"{row.place}: {row.problem}" for row in self.rows if row.problem not in (None, NO_FACE))

    @property
    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """The N faces as arrays: ``source`` (N,) text, ``box`` (N, 4) int32, ``distribution`` (N, 7) float32 and
        ``emotion`` (N,) int64 indices into :class:`encoder.emotions.Emotion`."""
        faces = self.faces
        distribution = np.array([row.distribution for row in faces], np.float32).reshape(-1, len(EMOTION_NAMES))
        return {
            "source": np.array([row.source for row in faces], dtype=np.str_),
            "box": np.array([row.box for row in faces], np.int32).reshape(-1, 4),
            "distribution": distribution,
            "emotion": distribution.argmax(axis=1),
        }

    def to_dataframe(self, *, landmarks: bool = False) -> Any:
        """All rows as a ``pandas.DataFrame``; the column ``problem`` is empty where there is a face."""
        return to_dataframe(self.rows, landmarks=landmarks)
