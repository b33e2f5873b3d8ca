"""Posed photographs through detector, crop and reader: what counts as right, found, in place."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from encoder.analysis.analyzer import FaceAnalyzer
from encoder.analysis.expressions import assess_expressions, expressions_lines, eyes_in_place
from encoder.data.posed_photographs import PosedPhotographs
from encoder.detection.face import DetectedFace

BOX = (100, 100, 100, 120)


def landmarks(turned: float = 0.0, mouth: float = 1.0, eyes: float = 45.0) -> np.ndarray:
    """Five points of a face in ``BOX``; the line of the eyes is turned by so many degrees, the mouth so many distances below."""
    half, angle = eyes / 2, np.radians(turned)
    across = np.array([np.cos(angle), np.sin(angle)]) * half
    middle, below = np.array([150.0, 145.0]), np.array([150.0, 145.0 + mouth * eyes])
    down, aside = np.array([0.0, 10.0]), np.array([15.0, 0.0])
    return np.array([middle - across, middle + across, middle + down, below - aside, below + aside], np.float32)


@pytest.mark.parametrize(
    ("points", "right"),
    [
        (landmarks(), True),
        (landmarks(turned=12), True),
        (landmarks(turned=-12), True),
        (landmarks(turned=20), False),
        (landmarks(mouth=0.4), False),
        (landmarks(mouth=1.6, eyes=40), False),
        (landmarks(mouth=-1.0), False),
        (landmarks() + 60, False),
        (landmarks()[:2], False),
        (None, False),
    ],
)
def test_eyes_are_in_place_on_upright_frontal_faces_only(points: np.ndarray | None, right: bool) -> None:
    assert eyes_in_place(DetectedFace(BOX, landmarks=points)) is right


class FindsLight:
    """Finds as many faces as the picture's first pixel says."""

    def detect(self, picture: np.ndarray) -> list[DetectedFace]:
        return [DetectedFace(BOX, landmarks=landmarks())] * int(picture[0, 0, 0])


def test_a_photograph_without_a_face_is_not_read_right(small_encoder: Callable[..., Any]) -> None:
    def photograph(faces: int) -> np.ndarray:
        picture = np.full((300, 300, 3), 128, np.uint8)
        picture[0, 0, 0] = faces
        return picture

    counts = [(0, "neutral"), (1, "smiling"), (2, "neutral"), (1, "smiling")]
    pictures = tuple(photograph(count) for count, _ in counts)
    photographs = PosedPhotographs(pictures, ("a", "a", "b", "b"), tuple(name for _, name in counts))
    encoder = small_encoder(16, answer="fer2013")
    found = assess_expressions(FaceAnalyzer(encoder, FindsLight()), photographs, "light")
    assert found["people"] == 2
    assert found["detection"]["found"]["count"] == found["detection"]["eyes_in_place"]["count"] == 3
    assert found["detection"]["several"] == 1
    neutral, smiling = (found["expressions"][name] for name in ("neutral", "smiling"))
    assert neutral["read_as"].pop("no face") == 1
    assert sum(neutral["read_as"].values()) == 1
    assert sum(smiling["read_as"].values()) == smiling["photographs"] == 2
    assert smiling["right"] == smiling["read_as"].get("happiness", 0)
    assert neutral["right"] == neutral["read_as"].get("neutral", 0)
    assert neutral["share"] == neutral["right"] / 2
    assert "detector light" in expressions_lines(found)[0]
