"""Pictures that are cropped faces already are told from photographs, and read as they are."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

from configs.cli import UserError
from encoder import analyze
from encoder.analysis.analyzer import FaceAnalyzer
from encoder.config import CropConfig
from encoder.detection.align import crop_face
from encoder.detection.centerface import CenterFaceDetector
from encoder.detection.face import DetectedFace
from encoder.detection.whole import is_crop, whole_face
from encoder.inference.emotion_encoder import EmotionEncoder
from encoder.pictures.pictures import Picture
from encoder.pictures.sources import View

CROP = (175, 63, 275, 163)


@pytest.fixture(scope="module")
def detector() -> CenterFaceDetector:
    return CenterFaceDetector()


@pytest.fixture
def encoder(small_encoder: Callable[..., EmotionEncoder]) -> EmotionEncoder:
    return small_encoder(heads=("fer2013",))


def astronaut(side: int, box: tuple[int, int, int, int] | None = None, turn: float = 0) -> np.ndarray:
    image = Image.fromarray(data.astronaut())
    image = image.rotate(turn, Image.Resampling.BICUBIC, center=(224, 115)).crop(box or (0, 0, 512, 512))
    return np.asarray(image.resize((side, side), Image.Resampling.LANCZOS))


@pytest.mark.parametrize("side", [48, 64, 100, 128, 224])
def test_a_crop_is_recognised(detector: CenterFaceDetector, side: int) -> None:
    picture = astronaut(side, CROP)
    assert is_crop(picture, detector.detect(picture))


@pytest.mark.parametrize("side", [64, 128, 256, 512])
def test_a_photograph_is_none_however_small(detector: CenterFaceDetector, side: int) -> None:
    picture = astronaut(side)
    found = detector.detect(picture)
    assert found
    assert not is_crop(picture, found)


@pytest.mark.parametrize(
    ("side", "box", "turn"),
    [(400, CROP, 0), (128, CROP, 60), (128, (140, 20, 310, 190), 0), (128, (215, 63, 315, 163), 0)],
    ids=["large", "turned", "with hair and shoulders", "beside the middle"],
)
def test_what_would_gain_by_a_crop_is_cut(
    detector: CenterFaceDetector, side: int, box: tuple[int, int, int, int], turn: float
) -> None:
    picture = astronaut(side, box, turn)
    assert not is_crop(picture, detector.detect(picture))


@pytest.mark.parametrize(("shape", "whole"), [((48, 48), True), ((64, 56), True), ((65, 65), False), ((60, 40), False)])
def test_without_a_face_only_the_smallest_pictures_are_crops(shape: tuple[int, int], whole: bool) -> None:
    assert is_crop(np.zeros((*shape, 3), np.uint8), []) is whole


def test_asked_for_all_pictures_are_crops_or_none_is() -> None:
    photograph, crop = np.zeros((300, 500, 3), np.uint8), np.zeros((48, 48, 3), np.uint8)
    face = DetectedFace((0, 0, 40, 40), 0.7)
    assert whole_face(crop, [face], "no") is None
    whole = whole_face(photograph, [face], "yes")
    assert whole is not None
    assert (whole.box, whole.score) == ((0, 0, 500, 300), 0.7)


def test_a_crop_reads_as_it_does_without_a_search(encoder: EmotionEncoder, detector: CenterFaceDetector) -> None:
    crop = astronaut(encoder.preprocessing.size * 2, CROP)
    read = {crops: FaceAnalyzer(encoder, detector, crops=crops).analyze(crop) for crops in ("auto", "yes", "no")}
    rows = {crops: analysis.faces[0] for crops, analysis in read.items()}
    assert {crops: row.whole_picture for crops, row in rows.items()} == {"auto": True, "yes": True, "no": False}
    assert rows["auto"].box == rows["yes"].box == (0, 0, *crop.shape[:2])
    assert (rows["auto"].score is None, rows["yes"].score is None) == (False, True)
    both = encoder.predict(np.stack([crop, crop[:, ::-1]])).distributions.log().mean(dim=0).softmax(dim=0)
    assert np.allclose(rows["auto"].distribution or (), both, atol=0.01)
    assert rows["auto"].distribution == rows["yes"].distribution != rows["no"].distribution


def test_faces_are_cut_out_of_frames_all_in_one_way(encoder: EmotionEncoder, detector: CenterFaceDetector) -> None:
    picture = Picture(astronaut(100, CROP), 100, 100)
    views = [View("clip.mp4", 0, 0.0, picture), View("face.png", picture=picture)]
    rows = [reading.rows[0] for reading in FaceAnalyzer(encoder, detector).stream(views)]
    assert [row.whole_picture for row in rows] == [False, True]


def test_a_photograph_is_cut_by_the_convention_of_the_weights(
    encoder: EmotionEncoder, detector: CenterFaceDetector, monkeypatch: pytest.MonkeyPatch
) -> None:
    crop = CropConfig(eye_distance=0.3)
    told = EmotionEncoder(encoder.net, encoder.preprocessing.model_copy(update={"crop": crop}), encoder.calibration)
    seen: list[np.ndarray] = []
    predict = EmotionEncoder.predict
    monkeypatch.setattr(EmotionEncoder, "predict", lambda self, faces, **kw: seen.append(faces) or predict(self, faces, **kw))
    FaceAnalyzer(told, detector).analyze(data.astronaut())
    (face,) = detector.detect(data.astronaut())
    assert np.array_equal(seen[0][0], crop_face(data.astronaut(), face, told.preprocessing.size, crop))


def test_an_unknown_word_is_refused(encoder: EmotionEncoder, detector: CenterFaceDetector) -> None:
    with pytest.raises(UserError, match="crops must be one of auto, yes, no"):
        FaceAnalyzer(encoder, detector, crops="maybe")


def test_the_command_says_which_pictures_it_read_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, picture in {"crop": astronaut(48, CROP), "photograph": data.astronaut()}.items():
        Image.fromarray(picture).save(tmp_path / f"{name}.png")
    out = tmp_path / "faces.csv"
    assert analyze.main([str(tmp_path), "--out", str(out), "--quiet"]) == 0
    rows = {Path(row["source"]).stem: row for row in csv.DictReader(out.open())}
    assert {name: row["whole_picture"] for name, row in rows.items()} == {"crop": "True", "photograph": "False"}
    assert {row["emotion"] for row in rows.values()} == {"happiness"}
    assert "1 taken for crops and read whole" in capsys.readouterr().err


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("file", "size", "least", "most"),
    [
        ("fer2013plus/valid", None, 0.85, 1.0),
        ("colour128/valid", None, 0.98, 1.0),
        ("london/london", None, 0, 0),
        ("london/london", 128, 0, 0),
    ],
)
def test_data_sets_of_crops_are_recognised_and_photographs_never(
    real_data: Path, detector: CenterFaceDetector, file: str, size: int | None, least: float, most: float
) -> None:
    import pyarrow.parquet as pq

    if not (real_data / f"{file}.parquet").is_file():
        pytest.skip(f"{file} is not on this machine")
    rows = pq.read_table(real_data / f"{file}.parquet", columns=["image"])["image"].slice(0, 100).to_pylist()
    images = [Image.open(io.BytesIO(row["bytes"])).convert("RGB") for row in rows]
    pictures = [np.asarray(image.resize((size, size)) if size else image) for image in images]
    share = np.mean([is_crop(*pair) for pair in zip(pictures, detector.detect_all(pictures), strict=True)])
    assert least <= share <= most
