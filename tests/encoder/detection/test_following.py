"""Faces before a camera: found again near where they were, and by a whole search now and then."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from PIL import Image
from skimage import data

from encoder.detection.centerface import CenterFaceDetector
from encoder.detection.face import DetectedFace
from encoder.detection.following import Following, QuickDetector

EMPTY = np.full((240, 320, 3), 90, np.uint8)
FACE, OTHER = DetectedFace((10, 10, 40, 40), 0.9), DetectedFace((200, 20, 30, 30), 0.8)


class Told:
    """A detector that finds what it was told, and notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.there: list[DetectedFace] = []

    def detect(self, picture: np.ndarray) -> list[DetectedFace]:
        self.asked.append("whole")
        return list(self.there)

    def glance(self, picture: np.ndarray) -> list[DetectedFace]:
        self.asked.append("glance")
        return list(self.there)

    def follow(self, picture: np.ndarray, faces: Sequence[DetectedFace]) -> list[DetectedFace]:
        self.asked.append("follow")
        return [face for face in faces if face in self.there]


def test_a_face_is_followed_and_the_whole_picture_searched_now_and_then() -> None:
    detector = Told()
    following, detector.there = Following(detector), [FACE]
    for _ in range(31):
        assert following.detect(EMPTY) == [FACE]
    assert detector.asked == ["whole", *["follow"] * 14, "whole", *["follow"] * 14, "whole"]


def test_nobody_is_looked_for_by_glances_until_somebody_comes() -> None:
    detector = Told()
    following = Following(detector)
    assert [following.detect(EMPTY) for _ in range(3)] == [[], [], []]
    detector.there = [OTHER]
    assert following.detect(EMPTY) == [OTHER]
    following.detect(EMPTY)
    assert detector.asked == ["whole", "glance", "glance", "glance", "follow"]


def test_who_is_lost_is_looked_for_at_once() -> None:
    detector = Told()
    following, detector.there = Following(detector), [FACE, OTHER]
    following.detect(EMPTY)
    detector.there = [OTHER]
    assert following.detect(EMPTY) == [OTHER]
    assert detector.asked == ["whole", "follow", "glance"]
    detector.there = []
    assert following.detect(EMPTY) == []


def test_many_faces_and_pictures_of_another_size_are_searched() -> None:
    detector = Told()
    following, detector.there = Following(detector), [FACE] * 5
    following.detect(EMPTY)
    following.detect(EMPTY)
    following.detect(EMPTY[:200])
    assert detector.asked == ["whole", "glance", "whole"]


def test_a_detector_that_knows_no_quicker_way_searches_every_picture() -> None:
    class Slow:
        def detect(self, picture: np.ndarray) -> list[DetectedFace]:
            return [FACE]

    following = Following(Slow())
    assert [following.detect(EMPTY) for _ in range(3)] == [[FACE]] * 3
    assert not isinstance(Slow(), QuickDetector)


def test_centerface_follows_a_face_that_moves_and_turns() -> None:
    detector = CenterFaceDetector()
    assert isinstance(detector, QuickDetector)
    astronaut = Image.fromarray(data.astronaut())
    following, points = Following(detector), np.array([[202, 101], [246, 103], [223, 124], [204, 142], [240, 143]], np.float32)
    for step in range(6):
        x, y, degrees = 10 * step, 6 * step, 5 * step
        turned = astronaut.rotate(-degrees, Image.Resampling.BICUBIC, center=(226, 119))
        picture = np.asarray(turned.transform((480, 360), Image.Transform.AFFINE, (1, 0, -x, 0, 1, -y)))
        (face,) = following.detect(picture)
        cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        there = (points - [226, 119]) @ np.array([[cos, sin], [-sin, cos]]) + [226 + x, 119 + y]
        assert face.landmarks is not None
        assert np.abs(face.landmarks - there).max() < 8
    assert following.detect(np.full((360, 480, 3), 90, np.uint8)) == []


@pytest.mark.parametrize("side", [160, 320, 480])
def test_a_glance_sees_an_upright_face(side: int) -> None:
    picture = np.asarray(Image.fromarray(data.astronaut()).resize((side, side), Image.Resampling.LANCZOS))
    (face,) = CenterFaceDetector().glance(picture)
    x, y, w, h = np.array(face.box) * 512 / side
    assert abs(x + w / 2 - 226) < 12
    assert abs(y + h / 2 - 119) < 14
