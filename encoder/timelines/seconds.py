"""One row a person and second: the mean of what the frames of that second show."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from encoder.analysis.analyzer import Reading
from encoder.analysis.rows import NO_FACE, FaceRow, PlainRow
from encoder.emotions import EMOTION_NAMES


class SecondMeans:
    """Takes the readings of videos, with people numbered, and gives rows as soon as their second is over.

    A row has ``source``, ``person``, ``second`` (whole, from 0), ``frames`` in which the person was seen in it, ``emotion``
    (the largest of the means), the mean of each probability, and ``problem``. The frames of a second have equal weight, and
    those without the person have none. A face in a picture has a row of its own, without person and second. A picture without
    a face, a video without any, and what cannot be read have a row that says so.

    Args:
        units: columns of action units, of which the mean is taken, too; frames without an answer are left out.
    """

    def __init__(self, units: Sequence[str] = ()) -> None:
        self._units = tuple(units)
        self._source, self._second, self._any = "", 0, True
        self._open: dict[int, list[FaceRow]] = {}

    @property
    def blank(self) -> PlainRow:
        """An empty row, for :func:`encoder.analysis.tables.create_table`."""
        return self._row("", [])

    def add(self, reading: Reading) -> Iterator[PlainRow]:
        """The rows that are complete before this reading."""
        view = reading.view
        if view.source != self._source or view.frame is None or view.time is None:
            yield from self.finish()
            self._source, self._any = view.source, view.time is None
        second = int(view.time or 0.0)
        if self._open and second != self._second:
            yield from self._close()
        self._second = second
        for row in reading.rows:
            if row.problem == NO_FACE and view.time is not None:
                continue
            self._any = True
            if row.problem is not None or view.time is None:
                yield self._row(row.source, [row], problem=row.problem)
            elif row.person is not None:
                self._open.setdefault(row.person, []).append(row)

    def finish(self) -> Iterator[PlainRow]:
        """What is left at the end of a video."""
        yield from self._close()
        if not self._any:
            self._any = True
            yield self._row(self._source, [], problem=NO_FACE)

    def _close(self) -> Iterator[PlainRow]:
        for person, rows in sorted(self._open.items()):
            yield self._row(self._source, rows, person=person, second=self._second)
        self._open.clear()

    def _row(self, source: str, rows: Sequence[FaceRow], **known: Any) -> PlainRow:
        seen = [row.distribution for row in rows if row.distribution is not None]
        means = np.mean(seen, axis=0) if seen else None
        values: dict[str, Any] = {"source": source, "person": known.get("person"), "second": known.get("second")}
        values |= {"frames": len(seen), "emotion": None if means is None else EMOTION_NAMES[int(np.argmax(means))]}
        values |= {name: None if means is None else round(float(means[k]), 6) for k, name in enumerate(EMOTION_NAMES)}
        for name in self._units:
            answers = [value for row in rows if (value := (row.units or {}).get(name)) is not None]
            values[name] = round(float(np.mean(answers)), 6) if answers else None
        return PlainRow(values | {"problem": known.get("problem")})
