"""Where eyes and mouth lie: shares and distances of faces whose landmarks are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from encoder.detection.face import DetectedFace
from eval.measures.placement import measure_placement
from generation.vetoes import EYE_DISTANCE, EYES, MOST_EYES_OFF, MOUTH

SIDE = 100


class Known:
    """Finds in picture i what was put there for it: a face so many shares of the side too low, or none."""

    def __init__(self, low: list[float | None]) -> None:
        self.low = low

    def detect(self, picture: np.ndarray) -> list[DetectedFace]:
        return self.detect_all([picture])[0]

    def detect_all(self, pictures: Any) -> list[list[DetectedFace]]:
        return [[] if low is None else [self._face(low)] for low, _ in zip(self.low, pictures, strict=True)]

    def _face(self, low: float) -> DetectedFace:
        (x, y), half = EYES, EYE_DISTANCE / 2
        points = np.array([(x - half, y), (x + half, y), (x, 0.5), MOUTH, MOUTH]) + np.array([0.0, low])
        return DetectedFace((0, 0, SIDE, SIDE), 0.8, (points * SIDE - 0.5).astype(np.float32))


def test_shares_and_distances_are_those_of_the_faces() -> None:
    far = MOST_EYES_OFF + 0.02
    found = measure_placement(Known([0.0, 0.02, far, None]), np.zeros((4, SIDE, SIDE, 3), np.uint8))
    assert (found["faces"], found["found"]["share"], found["in_place"]["share"]) == (4, 0.75, 0.5)
    low, high = found["in_place"]["interval"]
    assert low < 0.5 < high
    assert found["off"]["eyes"]["0.5"] == pytest.approx(0.02, abs=1e-4)
    assert found["off"]["eyes"]["0.99"] == pytest.approx(0.02 + 0.98 * (far - 0.02), abs=1e-3)
    assert found["off"]["eye_distance"]["0.99"] == pytest.approx(0.0, abs=1e-4)
    assert measure_placement(Known([None]), np.zeros((1, SIDE, SIDE, 3), np.uint8))["off"]["mouth"] is None
