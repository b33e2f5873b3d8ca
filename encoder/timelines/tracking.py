"""Which face of a frame is which person of the frames before."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from encoder.analysis.analyzer import FaceAnalyzer, Reading
from encoder.analysis.cuts import DETAIL_SIZE
from encoder.analysis.rows import FaceRow
from encoder.detection.align import crop_face
from encoder.detection.face import DetectedFace
from encoder.people.embeddings import Embedder, checked_embeddings, distances
from encoder.pictures.sources import View
from encoder.timelines.scene_cuts import SceneCuts

# Boxes that cover less of each other, as intersection over union, are not the same face (Bochinski et al. 2017).
LEAST_OVERLAP = 0.3
# So long, or one frame if that is longer, a face may be lost (turned away, hidden) and still be the same by its place.
PATIENCE_SECONDS = 1.0
# With an embedder: how often a person's face is described anew, and how many of these descriptions are kept.
_DESCRIBED_EVERY, _DESCRIPTIONS = 1.0, 8

Box = tuple[float, float, float, float]


@dataclass(eq=False)
class _Person:
    """Somebody who was seen: where and when last, how fast the box moved (pixels a second), what the face is like."""

    number: int
    box: Box
    time: float
    look: int
    speed: tuple[float, float] = (0.0, 0.0)
    described: float = -np.inf
    vectors: deque[NDArray[np.float32]] = field(default_factory=partial(deque, maxlen=_DESCRIPTIONS))

    def overlap(self, box: Box, time: float) -> float:
        """Of the box with the last one, or with where that would be by now."""
        wait = time - self.time
        moved = (self.box[0] + wait * self.speed[0], self.box[1] + wait * self.speed[1], *self.box[2:])
        return max(overlap(self.box, box), overlap(moved, box))

    def move(self, box: Box, time: float, look: int) -> None:
        if time > self.time:
            x, y = (box[axis] + box[axis + 2] / 2 - self.box[axis] - self.box[axis + 2] / 2 for axis in (0, 1))
            self.speed = x / (time - self.time), y / (time - self.time)
        self.box, self.time, self.look = box, time, look


def overlap(one: Box, other: Box) -> float:
    """Intersection over union of two boxes of left, top, width and height: 0 apart, 1 the same."""
    across = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    down = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    common = max(0.0, across) * max(0.0, down)
    return common / max(one[2] * one[3] + other[2] * other[3] - common, 1e-9)


class Tracker:
    """Numbers the people of each video from 1, in the order in which they appear.

    A face goes on being the person whose box it overlaps most. After a scene cut, and where somebody was away for more
    than a second, boxes say nothing: without an embedder the face gets a new number. With one it gets its old number back if
    it is within the embedder's threshold of it; and where two faces and two people lie over each other, it decides.

    Args:
        embedder: compares faces; None: boxes alone decide.

    Attributes:
        cuts: scene cuts found so far.
    """

    def __init__(self, embedder: Embedder | None = None) -> None:
        self.embedder, self.cuts = embedder, SceneCuts()
        self._source, self._look = "", 0
        self._people: list[_Person] = []
        self._here: list[_Person] = []

    def read(
        self,
        analyzer: FaceAnalyzer,
        views: Iterable[View],
        *,
        keep_pictures: bool = False,
        explain: bool = False,
        at_once: bool = False,
    ) -> Iterator[Reading]:
        """As :meth:`FaceAnalyzer.stream`, with ``person`` in the rows of videos and cameras.

        The frames of a source must come together. Without ``keep_pictures`` there may be pictures still, for the embedder.
        """
        keep = keep_pictures or self.embedder is not None
        yield from self._follow(analyzer.stream(self.cuts.watch(views), keep_pictures=keep, explain=explain, at_once=at_once))

    def _follow(self, readings: Iterable[Reading]) -> Iterator[Reading]:
        for reading in readings:
            if reading.view.frame is None or reading.view.time is None:
                yield reading
                continue
            if reading.view.source != self._source:
                self._source, self._look, self._people, self._here = reading.view.source, 0, [], []
            if self.cuts.before(reading.view):
                self._here = []
            yield replace(reading, rows=self._number(reading))

    def _number(self, reading: Reading) -> tuple[FaceRow, ...]:
        faces = [(row, row.box) for row in reading.rows if row.box is not None]
        boxes, time = [box for _, box in faces], reading.view.time or 0.0
        self._look += 1
        self._here = [each for each in self._here if time - each.time <= PATIENCE_SECONDS or self._look - each.look <= 2]
        seen = None if self.embedder is None else _Seen(reading, [row for row, _ in faces], self.embedder)
        chosen: dict[int, _Person] = {}
        self._by_place(boxes, time, seen, chosen)
        if seen is not None:
            self._by_face(len(boxes), seen, chosen)
        for number, box in enumerate(boxes):
            if number not in chosen:
                chosen[number] = _Person(len(self._people) + 1, box, time, self._look)
                self._people.append(chosen[number])
            person = chosen[number]
            if person not in self._here:
                # Where somebody comes back is no movement from where they left.
                person.speed, person.time, person.box = (0.0, 0.0), time, box
                self._here.append(person)
            person.move(box, time, self._look)
            if seen is not None and time - person.described >= _DESCRIBED_EVERY:
                person.vectors.append(seen.vector(number))
                person.described = time
        numbers = {id(row): chosen[number].number for number, (row, _) in enumerate(faces)}
        return tuple(replace(row, person=numbers.get(id(row))) for row in reading.rows)

    def _by_place(self, boxes: Sequence[Box], time: float, seen: _Seen | None, chosen: dict[int, _Person]) -> None:
        """Give each face the person whose box it covers; the surest pairs first."""
        all_pairs = [(number, person, person.overlap(box, time)) for number, box in enumerate(boxes) for person in self._here]
        pairs = [pair for pair in all_pairs if pair[2] >= LEAST_OVERLAP]

        def order(pair: tuple[int, _Person, float]) -> tuple[bool, float]:
            number, person, shared = pair
            several = sum(number == other or person is another for other, another, _ in pairs) > 1
            return (True, seen.distance(number, person)) if several and seen is not None else (False, -shared)

        for number, person, _ in sorted(pairs, key=order):
            if number not in chosen and person not in chosen.values():
                chosen[number] = person

    def _by_face(self, count: int, seen: _Seen, chosen: dict[int, _Person]) -> None:
        """Give faces that are nowhere near anybody the person of this video whom they resemble, the most alike first."""
        new = [number for number in range(count) if number not in chosen]
        away = [person for person in self._people if person not in chosen.values()]
        pairs = [(seen.distance(number, person), number, person.number) for number in new for person in away]
        for distance, number, found in sorted(pairs):
            person = self._people[found - 1]
            if distance <= seen.embedder.threshold and number not in chosen and person not in chosen.values():
                chosen[number] = person


class _Seen:
    """The faces of one frame as the embedder sees them, each only if it is asked for."""

    def __init__(self, reading: Reading, faces: Sequence[FaceRow], embedder: Embedder) -> None:
        if reading.view.picture is None:
            raise ValueError("an embedder needs readings with their pictures: stream(..., keep_pictures=True)")
        self.embedder = embedder
        self._picture, self._faces = reading.view.picture, faces
        self._known: dict[int, NDArray[np.float32]] = {}

    def vector(self, number: int) -> NDArray[np.float32]:
        """(D,) of a face."""
        if number not in self._known:
            row, scale = self._faces[number], self._picture.scale
            x, y, width, height = (round(value / scale) for value in row.box or (0, 0, 1, 1))
            points = None if row.landmarks is None else row.landmarks / np.float32(scale)
            crop = crop_face(self._picture.pixels, DetectedFace((x, y, width, height), landmarks=points), DETAIL_SIZE)
            self._known[number] = checked_embeddings(self.embedder, [crop])[0]
        return self._known[number]

    def distance(self, number: int, person: _Person) -> float:
        """Of a face to the nearest of what was seen of a person."""
        if not person.vectors:
            return float("inf")
        return float(distances(self.vector(number)[None], np.stack(list(person.vectors)), self.embedder.metric).min())
