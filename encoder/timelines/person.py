"""One person of a video: what was read and what is smoothed, frame by frame, and the summary of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder.analysis.rows import FaceRow
from encoder.emotions import EMOTION_NAMES


@dataclass(frozen=True, eq=False)
class Person:
    """One person of a video.

    Attributes:
        number: from 1, in the order in which they appear.
        rows: the F faces, in the order of time.
        times: (F,) float64 seconds from the start.
        durations: (F,) float64 seconds that each of these frames stands for.
        raw: (F, 7) float64 probabilities as they were read.
        smoothed: (F, 7) float64 their means over the seconds around each frame, see :func:`smooth`.
    """

    number: int
    rows: tuple[FaceRow, ...]
    times: NDArray[np.float64]
    durations: NDArray[np.float64]
    raw: NDArray[np.float64]
    smoothed: NDArray[np.float64]

    @property
    def shares(self) -> NDArray[np.float64]:
        """(7,) of the time in which the person was seen, how much each emotion was the most probable, smoothed."""
        weights = self.durations if self.durations.sum() > 0 else np.ones(len(self.times))
        return np.bincount(self.smoothed.argmax(axis=1), weights, len(EMOTION_NAMES)) / weights.sum()

    @property
    def emotion(self) -> str:
        """The one with the largest share."""
        return EMOTION_NAMES[int(self.shares.argmax())]

    def as_record(self) -> dict[str, Any]:
        """The summary: first and last second, frames, seconds in sight, the most frequent emotion and the seven shares."""
        first, last = (round(float(self.times[place]), 6) for place in (0, -1))
        record = {"source": self.rows[0].source, "person": self.number, "first": first, "last": last}
        record |= {"frames": len(self.rows), "seconds": round(float(self.durations.sum()), 6), "emotion": self.emotion}
        return record | {name: round(float(share), 6) for name, share in zip(EMOTION_NAMES, self.shares, strict=True)}

    def smoothed_records(self) -> Iterator[dict[str, Any]]:
        """A row a frame: the smoothed probabilities, and which is the largest."""
        for row, values in zip(self.rows, self.smoothed, strict=True):
            record = {"source": row.source, "person": self.number, "frame": row.frame, "time": round(row.time or 0.0, 6)}
            record |= {"emotion": EMOTION_NAMES[int(values.argmax())]}
            yield record | {name: round(float(value), 6) for name, value in zip(EMOTION_NAMES, values, strict=True)}


SUMMARY = ("source", "person", "first", "last", "frames", "seconds", "emotion", *EMOTION_NAMES)
SMOOTHED = ("source", "person", "frame", "time", "emotion", *EMOTION_NAMES)


def person_of(number: int, rows: list[FaceRow], lasting: dict[int | None, float], seconds: float, gap: float) -> Person:
    """A person from all faces of that number, in order.

    Args:
        lasting: seconds that each frame stands for. seconds, gap: see :func:`smooth`.
    """
    times = np.array([row.time for row in rows], np.float64)
    raw = np.array([row.distribution for row in rows], np.float64)
    durations = np.array([lasting.get(row.frame, 0.0) for row in rows], np.float64)
    return Person(number, tuple(rows), times, durations, raw, smooth(times, raw, seconds, gap))


def smooth(times: NDArray[np.float64], values: NDArray[np.float64], seconds: float, gap: float) -> NDArray[np.float64]:
    """(F, K) means of (F, K) ``values`` over the ``seconds`` around each of F times: half before, half after.

    Where nothing was seen for more than ``gap`` seconds, no mean goes over the gap.
    """
    found = np.empty_like(values)
    for part in stretches(times, gap):
        seen, sums = times[part], np.vstack([np.zeros(values.shape[1]), np.cumsum(values[part], axis=0)])
        # A hair more than half, so that rounding never takes a frame on one side and leaves that on the other.
        low = np.searchsorted(seen, seen - seconds / 2 - 1e-6, side="left")
        high = np.searchsorted(seen, seen + seconds / 2 + 1e-6, side="right")
        found[part] = (sums[high] - sums[low]) / (high - low)[:, None]
    return found


def stretches(times: NDArray[np.float64], gap: float) -> list[slice]:
    """The parts of ``times`` between which more than ``gap`` seconds lie."""
    starts = np.flatnonzero(np.diff(times, prepend=-np.inf) > gap).tolist()
    return [slice(start, end) for start, end in zip(starts, [*starts[1:], len(times)], strict=True)]
