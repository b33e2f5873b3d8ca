"""The Python API of reading: faces go through the network together, and the answers do not depend on it."""

from __future__ import annotations

import itertools
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encoder.analysis.analyzer import FaceAnalyzer
from encoder.analysis.rows import FaceRow
from encoder.detection.face import DetectedFace
from encoder.drawing.faces import draw_faces as drawn_faces
from encoder.emotions import EMOTION_NAMES
from encoder.inference.emotion_encoder import EmotionEncoder
from encoder.pictures import pictures
from encoder.pictures.pictures import Picture
from encoder.pictures.sources import View
from tests.encoder.analysis.squares import Squares, scene

ROOT = Path(__file__).resolve().parents[3]


# ---- batches


def test_faces_of_many_pictures_go_through_the_network_together(encoder: EmotionEncoder, before_each: Any) -> None:
    passes: list[int] = []
    # Every face comes with its mirror image.
    before_each(EmotionEncoder, "predict", lambda _self, faces, **_: passes.append(len(faces) // 2))
    shown = [scene(number % 3, seed=number) for number in range(12)]
    analysis = FaceAnalyzer(encoder, Squares(), batch_size=64).analyze(shown)
    assert len(analysis.faces) == 12
    assert passes == [12]
    passes.clear()
    FaceAnalyzer(encoder, Squares(), batch_size=5).analyze(shown)
    assert max(passes) <= 6
    assert sum(passes) == 12


def test_the_answer_does_not_depend_on_the_batch(encoder: EmotionEncoder, rng: np.random.Generator) -> None:
    shown = [scene(int(count), seed=number) for number, count in enumerate(rng.integers(0, 4, 9))]
    whole, single = (FaceAnalyzer(encoder, Squares(), batch_size=size).analyze(shown) for size in (64, 1))
    assert [row.source for row in whole.rows] == [row.source for row in single.rows]
    assert np.allclose(whole.arrays["distribution"], single.arrays["distribution"], atol=1e-5)
    alone = [FaceAnalyzer(encoder, Squares()).analyze(picture).arrays["distribution"] for picture in shown]
    assert np.allclose(np.concatenate(alone), whole.arrays["distribution"], atol=1e-5)


def test_a_mirrored_face_reads_the_same(encoder: EmotionEncoder) -> None:
    class Middle:
        def detect(self, picture: np.ndarray) -> list[DetectedFace]:
            return [DetectedFace((4, 4, 40, 40))]

    picture = np.repeat(drawn_faces(1, seed=3, size=48).images[0][..., None], 3, axis=2)
    seen = [FaceAnalyzer(encoder, Middle()).analyze(each).arrays["distribution"] for each in (picture, picture[:, ::-1])]
    assert np.allclose(*seen, atol=1e-4)


def test_an_endless_source_is_read_as_it_comes(encoder: EmotionEncoder) -> None:
    pulled = itertools.count()

    def endless() -> Iterator[View]:
        for number in pulled:
            yield View("endless", number, float(number), Picture(scene(number % 2), 132, 48))

    stream = FaceAnalyzer(encoder, Squares(), batch_size=4).stream(endless())
    first = list(itertools.islice(stream, 20))
    assert [reading.view.frame for reading in first] == list(range(20))
    assert next(pulled) <= 20 + 4 * 4
    assert all(reading.view.picture is None for reading in first)


def test_pictures_that_wait_for_a_batch_are_bounded_in_bytes(encoder: EmotionEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("encoder.analysis.analyzer._MAX_WAITING_BYTES", 3 * scene(1).nbytes)
    pulled = itertools.count()
    views = (View("x", number, picture=Picture(scene(1), 132, 48)) for number in pulled)
    next(FaceAnalyzer(encoder, Squares(), batch_size=64).stream(views, keep_pictures=True))
    assert next(pulled) <= 6


# ---- what is asked of it


def test_small_faces_and_all_but_the_largest_can_be_left_out(encoder: EmotionEncoder) -> None:
    picture = scene(3)  # faces of 40, 39 and 38 pixels
    asked: list[dict[str, Any]] = [{}, {"min_size": 39}, {"largest": True}]
    boxes = [[row.box for row in FaceAnalyzer(encoder, Squares(), **each).analyze(picture).faces] for each in asked]
    assert [len(found) for found in boxes] == [3, 2, 1]
    assert boxes[2] == [(2, 2, 40, 40)]
    nothing = FaceAnalyzer(encoder, Squares(), min_size=41).analyze(picture)
    assert [row.problem for row in nothing.rows] == ["no face found"]


def test_boxes_are_in_pixels_of_the_file(photograph: Path, encoder: EmotionEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    from encoder.detection.registry import DEFAULT_DETECTOR, create_detector

    monkeypatch.setattr(pictures, "MAX_KEPT_PIXELS", 300 * 300)
    (row,) = FaceAnalyzer(encoder, create_detector(DEFAULT_DETECTOR)).analyze(photograph).faces
    assert row.box is not None
    x, _, w, _ = row.box
    assert abs(x + w / 2 - 224) < 12
    assert 80 < w < 115
    assert abs(row.landmarks[0, 0] - 202) < 8


def test_gender_and_identity_are_there_when_asked_for(encoder: EmotionEncoder) -> None:
    class Gender:
        crop = None

        def predict(self, images: np.ndarray) -> np.ndarray:
            assert images.shape[1:] == (160, 160, 3)
            return np.array([[0.8, 0.2], [0.3, 0.7]])

    class Gallery:
        def search(self, crops: list[np.ndarray]) -> list[types.SimpleNamespace | None]:
            assert crops[0].shape == (160, 160, 3)
            return [types.SimpleNamespace(name="Ada", distance=0.25), None]

    one, two = FaceAnalyzer(encoder, Squares(), gender=Gender(), gallery=Gallery()).analyze(scene(2)).faces
    assert (one.gender, one.gender_probability, one.identity, one.identity_distance) == ("female", 0.8, "Ada", 0.25)
    assert (two.gender, two.gender_probability, two.identity) == ("male", 0.7, None)
    (plain,) = FaceAnalyzer(encoder, Squares()).analyze(scene(1)).faces
    assert plain.gender is plain.identity is None


# ---- the Python API


def test_the_api_gives_arrays_and_a_dataframe(encoder: EmotionEncoder, folder: Path) -> None:
    analysis = FaceAnalyzer(encoder, Squares()).analyze([folder, folder / "absent.jpg"])
    arrays = analysis.arrays
    assert arrays["box"].shape == (3, 4)
    assert arrays["distribution"].shape == (3, 7)
    assert np.allclose(arrays["distribution"].sum(axis=1), 1, atol=1e-5)
    assert [EMOTION_NAMES[index] for index in arrays["emotion"]] == [row.emotion for row in analysis.faces]
    assert [Path(name).name for name in arrays["source"]] == ["a-two.png", "a-two.png", "c-one.png"]
    assert len(analysis.problems) == 4
    assert any(line.endswith("absent.jpg: no such file") for line in analysis.problems)
    assert repr(analysis).startswith("Analysis(3 faces: ")
    assert repr(analysis).endswith(f"; 4 problems, first {analysis.problems[0]})")
    frame = analysis.to_dataframe(landmarks=True)
    assert len(frame) == len(analysis.rows) == 8
    assert frame["x"].dtype == "Int64"
    assert frame["happiness"].dtype == "float64"
    assert np.shape(frame["landmarks"][0]) == (2, 2)
    assert frame.dropna(subset=["emotion"])["problem"].isna().all()


def test_no_face_at_all_gives_empty_arrays_of_the_right_shape(encoder: EmotionEncoder) -> None:
    analysis = FaceAnalyzer(encoder, Squares()).analyze(scene(0))
    shapes = {"source": (0,), "box": (0, 4), "distribution": (0, 7), "emotion": (0,)}
    assert {name: array.shape for name, array in analysis.arrays.items()} == shapes
    assert FaceAnalyzer(encoder, Squares()).analyze([]).to_dataframe().shape == (0, len(FaceRow("").as_record()))


def test_from_pretrained_reads_a_photograph(photograph: Path) -> None:
    analysis = FaceAnalyzer.from_pretrained(ROOT / "pretrained" / "encoder", device="cpu").analyze(str(photograph))
    assert [row.emotion for row in analysis.rows] == ["happiness"]
