"""From one emotion to another in even steps, for one person a row."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Unpack, cast

from configs.cli import UserError
from configs.values import refuse, whole
from encoder.emotions import parse_distribution
from generation.draw import FaceModel, Progress
from generation.faces import Face, FaceBatch
from generation.files import write_faces
from generation.people import People
from generation.request import FaceRequest, FaceSettings, make_request

MAX_FRAMES = 101
# Draws of a whole row, of which the best is kept.
_TRIES = 4

Distribution = tuple[float, ...]


@dataclass(frozen=True, kw_only=True, repr=False)
class FaceStrip(FaceBatch):
    """Faces whose emotion changes in even steps, row by row; fewer rows than asked for after Ctrl-C.

    Attributes:
        request: the settings; its ``emotion`` is the first of ``emotions``, its ``count`` the number of rows.
        path: as it was asked for. ``emotions``: the distribution of each column.
    """

    path: str
    emotions: tuple[Distribution, ...]

    @property
    def rows(self) -> tuple[tuple[Face, ...], ...]:
        """One person a row; all faces of a row share their seed and number of tries."""
        frames = len(self.emotions)
        return tuple(self.faces[start : start + frames] for start in range(0, len(self.faces), frames))

    @property
    def complete(self) -> bool:
        """Whether all rows are there."""
        return len(self.rows) == self.request.count

    @property
    def title(self) -> str:
        """The path as it was asked for."""
        return self.path

    @property
    def columns(self) -> int:
        """Faces in a row."""
        return len(self.emotions)

    def _write(self, folder: Path, size: int | None, mark: bool) -> dict[str, Any]:
        return write_faces(self, folder, size=size, mark=mark)

    def __repr__(self) -> str:
        return f"FaceStrip({self.path}: {len(self.rows)} of {self.request.count} rows of {self.columns}, {self.seconds:.1f} s)"


def parse_path(text: str) -> tuple[Distribution, ...]:
    """``"happiness:fear"`` as the distributions of its stops; two or more, each an emotion or a compound.

    Raises:
        UserError: an unknown name, or fewer than two stops.
    """
    if not isinstance(text, str):
        refuse("a strip", "a path such as 'happiness:fear'", text)
    names = text.split(":")
    if len(names) < 2:
        raise UserError(f"a strip goes from one emotion to another: write e.g. happiness:fear, got {text!r}")
    return tuple(parse_distribution(name) for name in names)


def interpolate(stops: tuple[Distribution, ...], frames: int) -> tuple[Distribution, ...]:
    """``frames`` distributions at even distances along the path; first and last are its ends.

    Raises:
        UserError: fewer frames than 2 or more than ``MAX_FRAMES``.
    """
    if not 2 <= whole("frames", frames) <= MAX_FRAMES:
        raise UserError(f"frames must lie between 2 and {MAX_FRAMES}, got {frames}")
    legs = list(pairwise(stops))
    made = []
    for number in range(frames):
        place = number * len(legs) / (frames - 1)
        leg = min(int(place), len(legs) - 1)
        share = place - leg
        made.append(tuple((1.0 - share) * p + share * q for p, q in zip(*legs[leg], strict=True)))
    return tuple(made)


def strip_requests(
    path: str, frames: int = 9, count: int = 1, seed: int = 0, *, intensity: float = 1.0, **settings: Unpack[FaceSettings]
) -> list[FaceRequest]:
    """What is asked of each column; arguments and errors as for :func:`make_strip`."""
    if "best_of" in settings:
        raise UserError("best_of: is for single faces; of a strip the first of max_tries rows that is read as asked is kept")
    settings = cast(FaceSettings, {"identity": True, "max_tries": _TRIES, **settings})
    # Each column is checked like a request of its own: an avoided emotion may lie on the way.
    return [make_request(step, count, seed, intensity=intensity, **settings) for step in interpolate(parse_path(path), frames)]


def make_strip(
    model: FaceModel,
    path: str,
    frames: int = 9,
    count: int = 1,
    seed: int = 0,
    *,
    intensity: float = 1.0,
    progress: Progress | None = None,
    taken: Callable[[tuple[Face, ...]], object] | None = None,
    **settings: Unpack[FaceSettings],
) -> FaceStrip:
    """Draw a strip. Ctrl-C ends early with the rows that are finished by then.

    All faces of a row come from the same noise and, unless ``identity=False``, from one neutral face of which only brows,
    eyes and mouth are made anew. Of up to ``max_tries`` rows (4 by default) the first is kept in which the encoder accepts
    every face, else the one whose faces match best on average: unlike single faces, those of a strip may miss.

    Args:
        path: emotions or compounds between colons, e.g. ``"neutral:happiness"``.
        frames: faces a row.
        count: people. seed: row i uses ``seed + i``.
        progress: called with (rows finished, rows asked, faces tried) after every row. taken: called with every row.
        intensity: of every column, 0 (neutral) to 1. settings: see :class:`generation.request.FaceRequest`.

    Raises:
        UserError: an unknown emotion, or a setting out of range.
    """
    started = time.monotonic()
    requests = [model.settled(each) for each in strip_requests(path, frames, count, seed, intensity=intensity, **settings)]
    request, emotions = requests[0], tuple(each.emotion for each in requests)
    people = People(model, request) if request.identity else None
    tried = 0
    rows: list[tuple[Face, ...]] = []
    try:
        for index in range(count):
            row = _best_row(model, request, emotions, seed + index, people)
            rows.append(row)
            if taken is not None:
                taken(row)
            tried += frames * (row[0].tries if _accepted(row) else request.max_tries)
            if progress is not None:
                progress(len(rows), count, tried)
    except KeyboardInterrupt:
        if not rows:
            raise
    faces = tuple(face for row in rows for face in row)
    seconds, whole = time.monotonic() - started, len(rows) == count
    return FaceStrip(request, faces, tried, seconds, model.weights, not whole, path=path, emotions=emotions)


def _best_row(
    model: FaceModel, request: FaceRequest, emotions: tuple[Distribution, ...], seed: int, people: People | None
) -> tuple[Face, ...]:
    rows: list[tuple[Face, ...]] = []
    for attempt in range(request.max_tries):
        rows.append(tuple(model.draw(request, [seed] * len(emotions), attempt, people, emotions)))
        if _accepted(rows[-1]):
            return rows[-1]
    # A face that is no face, or unreal, counts as one that misses its emotion.
    return max(rows, key=lambda row: sum(face.verdict.match for face in row if face.refused in (None, "emotion")))


def _accepted(row: tuple[Face, ...]) -> bool:
    return all(face.accepted for face in row)
