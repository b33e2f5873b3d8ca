"""Crops: tight, square, eyes level, no black bars, and as good to the encoder as a crop made by hand."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from skimage import data

from configs.cli import UserError
from encoder.config import CropConfig, PreprocessingConfig
from encoder.detection.align import crop_face, face_square
from encoder.detection.face import DetectedFace
from encoder.detection.registry import DEFAULT_DETECTOR, create_detector
from encoder.inference.emotion_encoder import EmotionEncoder
from encoder.people.gender import GenderClassifier

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def encoder() -> EmotionEncoder:
    return EmotionEncoder.from_pretrained(ROOT / "pretrained" / "encoder")


def dot(picture: np.ndarray, x: float, y: float) -> None:
    picture[round(y) - 3 : round(y) + 4, round(x) - 3 : round(x) + 4] = 255


def dots(crop: np.ndarray) -> np.ndarray:
    """Centres (x, y) of the bright spots in the left and in the right half."""
    half = crop.shape[1] // 2
    found = []
    for offset, part in ((0, crop[:, :half, 0]), (half, crop[:, half:, 0])):
        weight = part.astype(float)
        rows, columns = np.indices(part.shape)
        found.append([offset + (columns * weight).sum() / weight.sum(), (rows * weight).sum() / weight.sum()])
    return np.array(found)


def test_without_landmarks_the_box_is_cut_out_and_resized(rng: np.random.Generator) -> None:
    picture = rng.integers(0, 256, (80, 90, 3), dtype=np.uint8)
    crop = crop_face(picture, DetectedFace((20, 10, 48, 48)), 48, scale=1.0)
    assert np.array_equal(crop, picture[10:58, 20:68])
    assert crop_face(picture, DetectedFace((20, 10, 48, 48)), 31).shape == (31, 31, 3)


@pytest.mark.parametrize("degrees", [-20, 12, 25])
def test_tilted_eyes_become_level(degrees: float) -> None:
    picture = np.zeros((200, 200, 3), np.uint8)
    along = np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))]) * 20
    eyes = np.array([100 - along, 100 + along])
    for x, y in eyes:
        dot(picture, x, y)
    face = DetectedFace((50, 50, 100, 100), landmarks=eyes.astype(np.float32))
    left, right = dots(crop_face(picture, face, 100, scale=1.0))
    assert abs(left[1] - right[1]) < 1
    assert abs(right[0] - left[0] - 40) < 1.5
    tilted_left, tilted_right = dots(crop_face(picture, face, 100, scale=1.0, level=False))
    assert abs(tilted_left[1] - tilted_right[1]) > 5


def test_a_slight_tilt_is_left_alone(rng: np.random.Generator) -> None:
    picture = rng.integers(0, 256, (80, 80, 3), dtype=np.uint8)
    eyes = np.array([[30, 30], [50, 31]], np.float32)
    crops = [crop_face(picture, DetectedFace((16, 16, 48, 48), landmarks=points), 48) for points in (eyes, None)]
    assert np.array_equal(*crops)


def test_eyes_and_mouth_decide_where_they_are_known() -> None:
    picture = np.zeros((200, 200, 3), np.uint8)
    five = np.array([[80, 80], [120, 80], [100, 100], [85, 122], [115, 122]], np.float32)
    for x, y in five[:2]:
        dot(picture, x, y)
    crops = [crop_face(picture, DetectedFace(box, landmarks=five), 96) for box in ((60, 40, 70, 110), (70, 70, 60, 60))]
    assert np.array_equal(*crops)
    left, right = dots(crops[0]) / 96
    # Where the eyes are in the faces of FER-2013.
    assert np.abs(left - [0.31, 0.38]).max() < 0.03
    assert np.abs(right - [0.69, 0.38]).max() < 0.03


@pytest.mark.parametrize("degrees", [-90, -35, 3, 60, 90])
@pytest.mark.parametrize(("size", "crop"), [(48, CropConfig()), (100, CropConfig(eye_distance=0.3, eye_height=0.45))])
def test_with_a_convention_the_eyes_lie_where_it_says(size: int, crop: CropConfig, degrees: float) -> None:
    picture = np.zeros((400, 400), np.uint8)
    along = np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))]) * 36
    eyes = np.array([190 - along, 190 + along])
    for x, y in eyes:
        dot(picture, x, y)
    face = DetectedFace((120, 120, 140, 140), landmarks=eyes.astype(np.float32))
    made = crop_face(picture, face, size, crop)
    assert made.shape == (size, size)
    seen = (dots(made[..., None]) + 0.5) / size
    wanted = [(0.5 - crop.eye_distance / 2, crop.eye_height), (0.5 + crop.eye_distance / 2, crop.eye_height)]
    assert np.abs(seen - wanted).max() < 0.015
    assert np.allclose(face_square(face, crop).to_crop(face.landmarks), wanted, atol=1e-5)
    assert np.array_equal(crop_face(np.repeat(picture[..., None], 3, axis=2), face, size, crop)[..., 0], made)


def test_of_a_face_that_turns_away_the_height_says_how_large_it_is() -> None:
    frontal = np.array([[80, 80], [120, 80], [100, 100], [85, 122], [115, 122]], np.float32)
    profile = frontal * [0.3, 1] + [70, 0]
    sides = [face_square(DetectedFace((60, 40, 70, 110), landmarks=points), CropConfig()).side for points in (frontal, profile)]
    assert sides[1] == pytest.approx(sides[0], rel=0.02)


def test_with_a_convention_a_box_alone_gives_about_the_same_crop(rng: np.random.Generator) -> None:
    """Eyes where the boxes of Haar and dlib have them."""
    box, crop = (40, 30, 100, 100), CropConfig()
    eyes = np.array([[90 - 21, 67], [90 + 21, 67]], np.float32)
    by_eyes, by_box = (face_square(DetectedFace(box, landmarks=points), crop) for points in (eyes, None))
    assert by_box.side == pytest.approx(by_eyes.side, rel=0.03)
    assert abs(by_box.x - by_eyes.x) < 2
    assert abs(by_box.y - by_eyes.y) < 2
    assert by_box.tilt == 0


def test_a_convention_averages_and_finds_the_face_in_a_large_picture(rng: np.random.Generator) -> None:
    coarse = rng.integers(0, 256, (6, 6), dtype=np.uint8)
    small = np.asarray(Image.fromarray(coarse).resize((200, 200), Image.Resampling.BICUBIC))
    large = np.full((1500, 1800), 128, np.uint8)
    large[700:900, 1100:1300] = small
    eyes = np.array([[70, 80], [130, 84]], np.float32)
    crops = [
        crop_face(
            picture, DetectedFace((left + 40, top + 40, 120, 120), landmarks=eyes + np.float32([left, top])), 24, CropConfig()
        )
        for picture, left, top in ((small, 0, 0), (large, 1100, 700))
    ]
    assert np.abs(crops[0].astype(int) - crops[1])[3:-3, 3:-3].max() <= 12
    board = (np.indices((400, 400)).sum(axis=0) % 2 * 255).astype(np.uint8)
    assert np.abs(crop_face(board, DetectedFace((50, 50, 300, 300)), 48, CropConfig()).astype(int) - 127).max() < 12


@pytest.mark.parametrize("crop", [None, CropConfig()])
@given(st.integers(-30, 55), st.integers(-30, 55), st.integers(1, 90), st.integers(1, 90), st.floats(-40, 40))
def test_there_are_no_black_bars(crop: CropConfig | None, x: int, y: int, w: int, h: int, tilt: float) -> None:
    picture = np.full((60, 60, 3), 200, np.uint8)
    down = np.tan(np.radians(tilt)) * 20
    eyes = np.array([[x + 10, y + 20], [x + 30, y + 20 + down]], np.float32)
    face = DetectedFace((x, y, w, h), landmarks=eyes)
    if x + w <= 0 or y + h <= 0:
        with pytest.raises(UserError, match="outside the picture"):
            crop_face(picture, face, 24, crop)
    else:
        assert np.array_equal(crop_face(picture, face, 24, crop), np.full((24, 24, 3), 200))


def test_shrinking_averages_instead_of_picking_pixels() -> None:
    board = np.repeat((np.indices((400, 400)).sum(axis=0) % 2 * 255).astype(np.uint8)[..., None], 3, axis=2)
    crop = crop_face(board, DetectedFace((50, 50, 300, 300)), 48)
    assert np.abs(crop.astype(int) - 127).max() < 12


def test_a_detected_crop_reads_like_one_made_by_hand(encoder: EmotionEncoder) -> None:
    picture = data.astronaut()
    by_hand = Image.fromarray(picture).crop((175, 63, 275, 163)).resize((48, 48), Image.Resampling.LANCZOS)
    (face,) = create_detector(DEFAULT_DETECTOR).detect(picture)
    crops = np.stack([np.asarray(by_hand), crop_face(picture, face, 48)])
    hand, detected = encoder.predict(crops).distributions
    assert int(hand.argmax()) == int(detected.argmax()) == 3  # happiness
    assert float((hand - detected).abs().sum()) < 0.05


def test_the_convention_is_stored_with_the_weights_and_older_ones_have_none(encoder: EmotionEncoder, tmp_path: Path) -> None:
    assert "crop" not in json.loads((ROOT / "pretrained" / "gender" / "config.json").read_text())["preprocessing"]
    assert GenderClassifier.from_pretrained(ROOT / "pretrained" / "gender").crop is None
    preprocessing = PreprocessingConfig(crop=CropConfig(eye_height=0.4))
    EmotionEncoder(encoder.net, preprocessing, encoder.calibration).save_pretrained(tmp_path / "weights")
    assert EmotionEncoder.from_pretrained(tmp_path / "weights").preprocessing == preprocessing


@pytest.mark.realdata
def test_detection_and_crop_lose_nothing_on_real_photographs(encoder: EmotionEncoder, real_data: Path) -> None:
    """Faces of the FER-2013 test split, enlarged, each somewhere in a picture of 200 pixels."""
    import pyarrow.parquet as pq

    rows = pq.read_table(real_data / "fer2013plus" / "test.parquet", columns=["fer2013_label", "image"])
    detector = create_detector(DEFAULT_DETECTOR)
    labels, by_hand, detected = [], [], []
    for number, row in enumerate(rows.slice(0, 250).to_pylist()):
        stored = Image.open(io.BytesIO(row["image"]["bytes"]))
        large = np.asarray(stored.resize((120, 120), Image.Resampling.BICUBIC))
        left, top = 15 + number % 50, 15 + number * 7 % 50
        picture = np.pad(large, ((top, 80 - top), (left, 80 - left)), mode="edge")
        picture = np.repeat(picture[..., None], 3, axis=2)
        faces = [face for face in detector.detect(picture) if face.box[3] > 60]
        if faces:
            labels.append(row["fer2013_label"])
            by_hand.append(np.asarray(stored))
            detected.append(crop_face(picture, faces[0], 48))
    assert len(labels) > 225
    answers = [encoder.predict(np.stack(crops)).heads["fer2013"].argmax(dim=1) for crops in (by_hand, detected)]
    hand, found = (float((answer == torch.tensor(labels)).float().mean()) for answer in answers)
    # Two crops of one face differ by a few faces either way; 4 points are what chance does to 160.
    assert found > hand - 0.04, f"by hand {hand:.3f}, detected {found:.3f}"
