"""Sixfold rotation: pictures and landmarks turn together."""

from __future__ import annotations

import numpy as np
import pytest

from encoder.data.face_set import FaceSet
from encoder.fitting.sixfold import COPIES, sixfold, turn_images, turn_points


def make_faces(images: np.ndarray, landmarks: np.ndarray | None) -> FaceSet:
    count = len(images)
    return FaceSet(
        images=images,
        labels=np.arange(count).astype(np.int8),
        votes=np.zeros((count, 8), np.float32),
        ids=tuple(f"face{index}" for index in range(count)),
        source="made up",
        landmarks=landmarks,
    )


def dots(points: np.ndarray, size: int) -> np.ndarray:
    """(N, size, size): a soft white dot at the one point (x, y) of each picture."""
    y, x = np.mgrid[:size, :size]
    squared = (x - points[:, 0, 0, None, None]) ** 2 + (y - points[:, 0, 1, None, None]) ** 2
    return (255 * np.exp(-squared / 8)).astype(np.uint8)


def centre(image: np.ndarray) -> np.ndarray:
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    weight = image.astype(float)
    return np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()


def test_images_and_landmarks_turn_the_same_way(rng: np.random.Generator) -> None:
    # Far enough from the border for the dot to stay inside.
    points = (20 + 24 * rng.random((5, 1, 2))).astype(np.float32)
    turned = sixfold(make_faces(dots(points, 65), points), 35.0)
    assert len(turned) == 5 * COPIES
    assert turned.landmarks is not None
    for image, landmark in zip(turned.images, turned.landmarks, strict=True):
        np.testing.assert_allclose(centre(image), landmark[0], atol=0.3)
    # One dot may lie near the middle and hardly move.
    assert np.ptp(turned.landmarks.reshape(5, COPIES, 2), axis=1).max() > 2


def test_a_positive_turn_is_clockwise() -> None:
    top = np.array([[[32.0, 12.0]]], np.float32)
    quarter = np.array([90.0])
    np.testing.assert_allclose(turn_points(top, quarter, 65), [[[52.0, 32.0]]], atol=1e-4)
    np.testing.assert_allclose(centre(turn_images(dots(top, 65), quarter)[0]), [52.0, 32.0], atol=0.3)


def test_labels_stay_with_their_face_and_names_are_unique() -> None:
    turned = sixfold(make_faces(np.zeros((3, 16, 16), np.uint8), None), 20.0)
    assert turned.labels.tolist() == [0] * COPIES + [1] * COPIES + [2] * COPIES
    assert len(set(turned.ids)) == len(turned)
    assert turned.ids[0] == "face0@-20"
    assert turned.landmarks is None


@pytest.mark.parametrize("size", [16, 17])
def test_six_turns_leave_the_pixels_between_them_alone(size: int, rng: np.random.Generator) -> None:
    faces = rng.integers(0, 256, (2, size, size), dtype=np.uint8)
    np.testing.assert_array_equal(turn_images(faces, np.zeros(2)), faces)
