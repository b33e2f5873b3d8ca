"""Models on 68 landmarks: features, the seven models against the libraries that fitted them, files, both programs."""

from __future__ import annotations

import dataclasses
import json
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from configs.cli import UserError
from configs.loader import load_config
from encoder import evaluate, train
from encoder.config import EncoderConfig, LandmarkConfig
from encoder.data.face_set import FaceSet
from encoder.detection import hog as detect_dlib
from encoder.drawing.faces import draw_faces, drawn_set
from encoder.landmarks import finding as landmarks
from encoder.landmarks import models as landmark_models
from encoder.landmarks.classifier import LandmarkClassifier
from encoder.landmarks.features import NUM_FEATURES, features, level
from encoder.landmarks.finding import with_landmarks
from encoder.landmarks.fit import fit_landmarks, fit_model
from encoder.landmarks.models import LANDMARK_MODELS, Examples
from encoder.landmarks.scores import SCORERS

SMALL = LandmarkConfig(trees=12, smallest_leaf=3, neighbours=5, hidden=(32, 16), epochs=120)


@pytest.fixture(scope="module")
def faces() -> FaceSet:
    return drawn_set("train", 280, size=48)


@pytest.fixture(scope="module")
def valid() -> FaceSet:
    return drawn_set("valid", 140, size=48)


def config(name: str, **data: object) -> EncoderConfig:
    defaults = {"model": {"name": name}, "landmarks": SMALL.model_dump(mode="json"), "data": {"source": "drawn", **data}}
    return load_config(EncoderConfig, None, defaults=defaults)


def test_drawn_landmarks_lie_on_the_drawn_face() -> None:
    plain = draw_faces(7, seed=1, size=200, variation=0.0)
    for image, points in zip(plain.images.astype(float), plain.landmarks, strict=True):
        brow, forehead = points[17:27].round().astype(int), points[17:27].round().astype(int) - [0, 16]
        assert image[brow[:, 1], brow[:, 0]].mean() < image[forehead[:, 1], forehead[:, 0]].mean() - 20
    surprise, neutral = plain.landmarks[5], plain.landmarks[6]
    assert np.ptp(surprise[60:68, 1]) > 3 * np.ptp(neutral[60:68, 1])
    assert (np.diff(plain.landmarks[:, 36:40:3, 0]) > 0).all()  # eyes are numbered from the left of the picture
    assert (plain.landmarks[:, 36, 0] < plain.landmarks[:, 45, 0]).all()


def test_place_size_and_tilt_change_no_feature(faces: FaceSet, rng: np.random.Generator) -> None:
    points = faces.landmarks[:5].astype(np.float64)
    angle = rng.uniform(-1, 1)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moved = points @ turn.T * rng.uniform(0.5, 3) + rng.normal(0, 20, 2)
    np.testing.assert_allclose(features(moved), features(points), atol=1e-4)
    upright = level(points)
    np.testing.assert_allclose(upright[:, 36:42].mean(axis=1), np.tile([-0.5, 0.0], (5, 1)), atol=1e-9)
    assert features(points).shape == (5, NUM_FEATURES)


def test_faces_without_usable_landmarks_are_named() -> None:
    points = np.zeros((3, 68, 2))
    with pytest.raises(UserError, match="both eyes in one place"):
        features(points)
    points[1] = np.nan
    with pytest.raises(UserError, match=r"1 face.* the first is number 1"):
        features(points)
    with pytest.raises(UserError, match="need"):
        features(np.zeros((3, 5, 2)))


def examples(faces: FaceSet) -> Examples:
    x = features(faces.landmarks)
    return Examples((x - x.mean(axis=0)) / x.std(axis=0), faces.labels.astype(np.int64))


@pytest.mark.parametrize("name", LANDMARK_MODELS)
def test_every_model_learns_is_stored_and_answers_the_same(name: str, faces: FaceSet, valid: FaceSet, tmp_path: Path) -> None:
    if name == "landmarks-lightgbm":
        pytest.importorskip("lightgbm")
    pytest.importorskip("sklearn")
    model = fit_model(config(name), faces, valid)
    read = model.probabilities(valid.landmarks)
    np.testing.assert_allclose(read.sum(axis=1), 1.0)
    assert (read.argmax(axis=1) == valid.labels).mean() > 0.7
    model.save_pretrained(tmp_path / "weights")
    assert {path.suffix for path in (tmp_path / "weights").iterdir()} == {".json", ".safetensors"}
    loaded = LandmarkClassifier.from_pretrained(tmp_path / "weights")
    np.testing.assert_array_equal(loaded.probabilities(valid.landmarks), read)
    again = fit_model(config(name), faces, valid)
    np.testing.assert_allclose(again.probabilities(valid.landmarks), read, atol=1e-6)


def test_the_forest_answers_as_scikit_learn_does(faces: FaceSet, valid: FaceSet) -> None:
    ensemble = pytest.importorskip("sklearn.ensemble")
    data, other = examples(faces), examples(valid)
    fitted = LANDMARK_MODELS["landmarks-forest"](data, other, SMALL, 3)
    original = ensemble.RandomForestClassifier(12, min_samples_leaf=3, random_state=3).fit(data.x, data.y)
    ours = np.exp(SCORERS["landmarks-forest"](fitted, other.x)) - 1e-3
    np.testing.assert_allclose(ours, original.predict_proba(other.x), atol=1e-6)


def test_the_pairwise_machines_have_the_margins_of_scikit_learn(faces: FaceSet, valid: FaceSet) -> None:
    svm = pytest.importorskip("sklearn.svm")
    data, other = examples(faces), examples(valid)
    fitted = LANDMARK_MODELS["landmarks-svc"](data, other, SMALL, 0)
    original = svm.SVC(C=1.0, gamma=1 / NUM_FEATURES, decision_function_shape="ovo").fit(data.x, data.y)
    margins = np.tanh(original.decision_function(other.x))
    expected = np.zeros((len(other.x), 7))
    pairs = [(i, j) for i in range(7) for j in range(i + 1, 7)]
    for column, (i, j) in enumerate(pairs):
        expected[:, i] += margins[:, column]
        expected[:, j] -= margins[:, column]
    np.testing.assert_allclose(SCORERS["landmarks-svc"](fitted, other.x), expected, atol=1e-4)


def test_neighbours_and_layers_answer_as_scikit_learn_does(faces: FaceSet, valid: FaceSet) -> None:
    near = pytest.importorskip("sklearn.neighbors")
    data, other = examples(faces), examples(valid)
    fitted = LANDMARK_MODELS["landmarks-knn"](data, other, SMALL, 0)
    shares = near.KNeighborsClassifier(5).fit(data.x, data.y).predict_proba(other.x)
    np.testing.assert_allclose(np.exp(SCORERS["landmarks-knn"](fitted, other.x)) - 1e-3, shares, atol=1e-6)
    svm = pytest.importorskip("sklearn.svm")
    linear = LANDMARK_MODELS["landmarks-linear-svc"](data, other, SMALL, 0)
    machine = svm.LinearSVC(C=1.0, dual=False, max_iter=2000, tol=1e-3, random_state=0).fit(data.x, data.y)
    expected = 4.0 * machine.decision_function(other.x)
    np.testing.assert_allclose(SCORERS["landmarks-linear-svc"](linear, other.x), expected, atol=1e-3)


@pytest.mark.parametrize("change", ["circle", "feature", "shape", "missing"])
def test_damaged_files_are_refused(change: str, faces: FaceSet, valid: FaceSet, tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    model = fit_model(config("landmarks-forest"), faces, valid)
    if change == "circle":
        model.arrays["left"][5] = 0
    elif change == "feature":
        model.arrays["feature"][0] = NUM_FEATURES
    elif change == "shape":
        model.arrays["shares"] = model.arrays["shares"][:, :3].copy()
    else:
        del model.arrays["threshold"]
    model.save_pretrained(tmp_path / "weights")
    with pytest.raises(UserError, match=r"forest|landmarks-forest"):
        LandmarkClassifier.from_pretrained(tmp_path / "weights")


def test_both_programs_train_and_judge_a_model_on_landmarks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("sklearn")
    run, out = tmp_path / "run", tmp_path / "out"
    arguments = ["--config", "configs/encoder/ladder/landmarks-linear-svc.yaml", "data.source=drawn", "data.drawn_count=280"]
    assert train.main([*arguments, "--out", str(run)]) == 0
    assert evaluate.main(["--data", "drawn", "--weights", str(run / "weights"), "--out", str(out)]) == 0
    figures = json.loads((out / "evaluation.json").read_text())["heads"]["fer2013"]["all"]
    assert figures["count"] == 3500
    assert figures["accuracy"] > 0.8
    assert "accuracy" in capsys.readouterr().out
    with pytest.raises(UserError, match="already holds a run"):
        train.main([*arguments, "--out", str(run)])
    with pytest.raises(UserError, match="no maps for the report"):
        evaluate.main(["--data", "drawn", "--weights", str(run / "weights"), "--report", str(tmp_path / "report")])


def test_photographs_without_dlib_are_one_line(faces: FaceSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dlib", None)
    with pytest.raises(UserError, match=r"needs the package dlib; install the extra"):
        with_landmarks(dataclasses.replace(faces, landmarks=None), tmp_path)


def test_settings_that_make_no_sense_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="turned copies are equal"):
        fit_landmarks(config("landmarks-knn", sixfold_rotation=20.0), tmp_path / "run", None)
    with pytest.raises(UserError, match="leaves no checkpoint"):
        fit_landmarks(config("landmarks-knn"), tmp_path / "run", "latest")


def test_a_missing_package_names_the_extra(faces: FaceSet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    with pytest.raises(UserError, match=r"need lightgbm .*'\.\[ladder\]'"):
        landmark_models._lightgbm(examples(faces), examples(faces), SMALL, 0)


@pytest.fixture
def fake_dlib(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """A dlib that finds no face and puts every landmark into the middle of the box it is given; the boxes it was given."""
    given: list[tuple[int, ...]] = []

    class Rectangle:
        def __init__(self, *edges: int) -> None:
            self.edges = edges

        def width(self) -> int:
            return self.edges[2] - self.edges[0] + 1

    class Detector:
        def run(self, picture: np.ndarray, doublings: int) -> tuple[list[Rectangle], list[float], list[int]]:
            assert picture.shape == (288, 288)
            return [], [], []

    def predict(_picture: np.ndarray, box: Rectangle) -> types.SimpleNamespace:
        given.append(box.edges)
        left, top, right, bottom = box.edges
        point = types.SimpleNamespace(x=(left + right) / 2, y=(top + bottom) / 2)
        return types.SimpleNamespace(num_parts=68, parts=lambda: [point] * 68)

    module = types.SimpleNamespace(shape_predictor=lambda _: predict, get_frontal_face_detector=Detector, rectangle=Rectangle)
    monkeypatch.setitem(sys.modules, "dlib", module)
    monkeypatch.setattr(detect_dlib, "_landmark_file", lambda *_: Path("model.dat"))
    return given


def test_landmarks_are_found_once_and_kept_beside_the_run(
    fake_dlib: list[tuple[int, ...]], faces: FaceSet, tmp_path: Path
) -> None:
    unknown = dataclasses.replace(faces, landmarks=None).subset(range(3))
    found = with_landmarks(unknown, tmp_path).landmarks
    # The usual box reaches from 3 % to 97 % across and from 13.5 % to 107.5 % down; its middle is in the middle of 48 pixels.
    np.testing.assert_allclose(found[0, 0], [0.5 * 48 - 0.5, 0.605 * 48 - 0.5], atol=0.3)
    assert len(fake_dlib) == 3
    np.testing.assert_array_equal(with_landmarks(unknown, tmp_path).landmarks, found)
    assert len(fake_dlib) == 3
    with_landmarks(unknown.subset([1, 0, 2]), tmp_path)
    assert len(fake_dlib) == 6
    for path in tmp_path.glob("*.safetensors"):
        path.write_bytes(b"broken")
    with pytest.raises(UserError, match=r"damaged .*; delete it"):
        with_landmarks(unknown, tmp_path)
    assert landmarks.with_landmarks(faces, None) is faces


@pytest.mark.slow
def test_dlib_itself_finds_the_landmarks_of_drawn_crops(tmp_path: Path) -> None:
    dlib = pytest.importorskip("dlib")
    faces = drawn_set("train", 120, size=48)
    pictures, shapes, hog = [], [], dlib.get_frontal_face_detector()
    for image, points in zip(faces.images, faces.landmarks, strict=True):
        pictures.append(np.pad(image.repeat(4, axis=0).repeat(4, axis=1), 48, mode="edge"))
        box = max(hog(pictures[-1]), key=lambda found: found.width(), default=dlib.rectangle(54, 74, 234, 254))
        parts = [dlib.point(round(float(x)), round(float(y))) for x, y in (points + 0.5) * 4 - 0.5 + 48]
        shapes.append([dlib.full_object_detection(box, parts)])
    options = dlib.shape_predictor_training_options()
    options.cascade_depth, options.num_trees_per_cascade_level, options.oversampling_amount = 5, 60, 2
    dlib.train_shape_predictor(pictures, shapes, options).save(str(tmp_path / "own.dat"))
    detector = detect_dlib.DlibDetector(tmp_path / "own.dat", sha256=None)
    unseen = drawn_set("test", 20, size=48)
    found = np.stack([detector.landmarks_of_crop(image) for image in unseen.images])
    off = found - unseen.landmarks
    assert np.linalg.norm(off, axis=-1).mean() < 1.5
    assert np.abs(off.mean(axis=(0, 1))).max() < 0.4
