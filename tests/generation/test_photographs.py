"""Weights that paint photographs: what is told, what the weights decide, who may refuse, and colour in every file."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import generation.draw as draw
from configs.cli import UserError
from encoder.data.load import load_faces
from encoder.detection.align import face_square
from encoder.detection.face import DetectedFace
from generation.dataset.__main__ import main as make_set
from generation.dataset.make import collect
from generation.editing.seam import luma
from generation.pipeline import FacePipeline
from generation.sample import main as sample
from generation.settle import EVEN, attributes_of
from generation.verify import CAUSES
from generation.vetoes import EYE_DISTANCE, EYES, MOUTH, find_landmarks
from vqvae.attributes import ATTRIBUTE_NAMES, ATTRIBUTES

EASY = {"threshold": 0.0, "max_tries": 60}
FREE = {**EASY, "realism": 0.0}


class Detector:
    """Finds one face, its eyes and mouth so many pixels too low; or none in pictures darker than ``dark``."""

    def __init__(self, low: float = 0.0, dark: float = -1.0) -> None:
        self.low, self.dark, self.looked_at = low, dark, 0

    def detect(self, picture: np.ndarray) -> list[DetectedFace]:
        return self.detect_all([picture])[0]

    def detect_all(self, pictures: Any) -> list[list[DetectedFace]]:
        self.looked_at += len(pictures)
        return [[] if picture.mean() < self.dark else [self._face(len(picture))] for picture in pictures]

    def _face(self, side: int) -> DetectedFace:
        (x, y), (mouth_x, mouth_y), half = EYES, MOUTH, EYE_DISTANCE / 2
        points = np.array([(x - half, y), (x + half, y), (x, 0.5), (mouth_x - 0.1, mouth_y), (mouth_x + 0.1, mouth_y)])
        return DetectedFace((0, 0, side, side), 0.9, (points * side - 0.5 + (0, self.low)).astype(np.float32))


@pytest.fixture
def detector(monkeypatch: pytest.MonkeyPatch) -> Detector:
    """The detector that the vetoes ask."""
    found = Detector()
    monkeypatch.setattr(draw, "_detector", lambda: found)
    return found


def test_a_face_is_a_photograph_and_depends_on_its_seed_alone(colour: FacePipeline, likely_in_colour: str) -> None:
    batch = colour(likely_in_colour, 6, 3, batch_size=6, **EASY)
    assert batch.complete
    assert {face.image.shape for face in batch.faces} == {(32, 32, 3)}
    assert {picture.mode for picture in batch.images} == {"RGB"}
    assert any((face.image[..., 0] != face.image[..., 2]).any() for face in batch.faces)
    for size in (1, 4):
        for one, other in zip(batch.faces, colour(likely_in_colour, 6, 3, batch_size=size, **EASY).faces, strict=True):
            assert np.array_equal(one.image, other.image)
            assert (one.told, one.tries) == (other.told, other.tries)
            assert one.realism == pytest.approx(other.realism, abs=1e-4)
    assert np.array_equal(colour(likely_in_colour, 1, 7, **EASY).faces[0].image, batch.faces[4].image)


def test_the_look_of_fer2013_is_the_face_degraded(colour: FacePipeline) -> None:
    assert colour.looks == ("photo", "fer2013")
    grey = colour.draw_all(colour.request("fear", 3, 0, look="fer2013"))
    assert {face.image.shape for face in grey.faces} == {(16, 16)}
    again = colour.draw_all(colour.request("fear", 1, 2, source="fer2013"))
    assert np.array_equal(again.faces[0].image, grey.faces[2].image)
    read = colour.encoder.predict(np.stack([face.image for face in grey.faces])).distributions
    assert np.allclose([face.verdict.distribution for face in grey.faces], read, atol=1e-5)


def test_what_is_left_open_is_as_the_weights_say(colour: FacePipeline, pipe: FacePipeline) -> None:
    settled = colour.settled(colour.request("fear"))
    assert (settled.steps, settled.guidance, settled.guided, settled.temperature) == (4, 1.5, (0.2, 0.8), 0.9)
    assert (settled.look, settled.hands, settled.eyes, settled.gender, settled.realism) == ("photo", "no", "open", EVEN, 0.4)
    assert colour.settled(settled) == settled
    assert colour.settled(colour.request("fear", steps=7, guided=(0, 1), realism=0.0)).guided == (0.0, 1.0)
    older = pipe.settled(pipe.request("fear"))
    assert (older.steps, older.guidance, older.guided, older.temperature, older.look) == (12, 3.0, None, 0.8, "fer2013")
    assert {getattr(older, name) for name in (*ATTRIBUTE_NAMES, "realism")} == {None}
    assert pipe.settled(older) == older
    assert pipe.settled(pipe.request("fear", gender="any")) == older


def test_attributes_are_drawn_evenly_and_by_the_seed_alone(colour: FacePipeline) -> None:
    request = colour.settled(colour.request("fear", eyes="any", group="indian"))
    seeds = list(range(5000, 9000))
    rows = attributes_of(request, seeds, ATTRIBUTE_NAMES)
    told = {name: Counter(rows[:, column].tolist()) for column, name in enumerate(ATTRIBUTE_NAMES)}
    assert set(told["hands"]) == {0}
    assert set(told["eyes"]) == {-1}
    assert set(told["group"]) == {ATTRIBUTES["group"].index("indian")}
    assert set(told["age"]) == set(range(1, 9))
    for name, classes in (("gender", 2), ("age", 8)):
        # Five standard deviations of a share of 4,000.
        bound = 5 * (4000 * (1 / classes) * (1 - 1 / classes)) ** 0.5
        assert all(abs(count - 4000 / classes) < bound for count in told[name].values())
    assert abs(np.corrcoef(rows[:, 2], rows[:, 3])[0, 1]) < 0.08
    assert np.array_equal(attributes_of(request, seeds[17:19], ATTRIBUTE_NAMES), rows[17:19])
    assert np.array_equal(attributes_of(request, seeds, ("age",)), rows[:, 3:4])


def test_what_is_told_changes_the_face_and_one_person_is_told_the_same(colour: FacePipeline) -> None:
    female, male = (colour.draw_all(colour.request("fear", 4, 0, gender=gender, **FREE)) for gender in ("female", "male"))
    assert {face.told["gender"] for face in female.faces} == {"female"}
    assert any(not np.array_equal(a.image, b.image) for a, b in zip(female.faces, male.faces, strict=True))
    strip = colour.strip("neutral:fear", 3, 2, 5, max_tries=1)
    for row in strip.rows:
        assert len({tuple(face.told.items()) for face in row}) == 1
    alone = colour.draw_all(colour.request("anger", 1, 6, identity=True))
    assert alone.faces[0].told == strip.rows[1][0].told


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"look": "faces128"}, "look faces128: these weights know photo, fer2013"),
        ({"source": "drawn"}, "look drawn: these weights know photo"),
        ({"look": "photo", "source": "fer2013"}, "look and source are one setting"),
        ({"guided": (0.8, 0.2)}, "guided: needs two rising shares"),
        ({"age": "30"}, "age"),
    ],
)
def test_what_photographers_cannot_do_is_one_line(colour: FacePipeline, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        colour("fear", 1, **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"look": "photo"}, "look photo: these weights know fer2013, faces128, drawn"),
        ({"gender": "female"}, "gender female: these weights cannot be told; they know no attribute"),
        ({"hands": "no"}, "hands no: these weights cannot be told"),
        ({"realism": 0.2}, "realism 0.2: these weights have no critic"),
        ({"landmarks": "on"}, "landmarks on: is for weights that paint photographs"),
    ],
)
def test_what_older_weights_cannot_do_is_one_line(
    pipe: FacePipeline, settings: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        pipe("fear", 1, **settings)
    with pytest.raises(UserError, match=message):
        pipe.dataset(tmp_path / "set", per_emotion=1, **settings)
    assert not (tmp_path / "set").exists()


def test_a_critic_of_other_weights_is_refused(colour_weights: Path, tmp_path: Path, photo_weights: Any) -> None:
    folder = shutil.copytree(colour_weights, tmp_path / "mixed")
    config = json.loads((folder / "critic" / "config.json").read_text())
    del config["config_sha256"]
    config["data"]["weights"]["prior"] = "0" * 64
    (folder / "critic" / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="was trained on faces of another tokenizer or prior"):
        FacePipeline.from_pretrained(folder)
    without = FacePipeline.from_pretrained(photo_weights(tmp_path / "without", critic=False))
    assert without.settled(without.request("fear")).realism is None
    assert without.draw_all(without.request("fear", 1)).faces[0].realism is None


def test_vetoes_are_asked_in_turn_counted_and_recorded(colour: FacePipeline, likely_in_colour: str, detector: Detector) -> None:
    # Bars that a half of the faces miss.
    probe = colour.draw_all(colour.request(likely_in_colour, 24, 0, threshold=0.0, realism=1e-9)).faces
    least = float(np.median([face.verdict.match for face in probe if face.verdict.accepted]))
    shown = [face.realism for face in probe if face.realism is not None and face.verdict.match >= least]
    bar = float(np.median(shown)) + 1e-6
    settings = {"threshold": least, "max_tries": 3, "landmarks": "on", "realism": bar}
    faces = colour.draw_all(colour.request(likely_in_colour, 24, 0, **settings)).faces
    for face in faces:
        by_emotion = not face.verdict.accepted
        assert (face.realism is None) == by_emotion
        unreal = face.realism is not None and face.realism < bar
        assert (face.landmarks is None) == (by_emotion or unreal)
        assert face.refused == ("emotion" if by_emotion else "realism" if unreal else None)
    assert {face.refused for face in faces} == {"emotion", "realism", None}
    assert detector.looked_at == sum(face.accepted for face in faces)

    bright = float(np.median([face.image.mean() for face in faces if face.accepted]))
    detector.dark = bright
    batch = colour(likely_in_colour, 12, 0, **settings)
    assert set(batch.refused) == {"emotion", "realism", "landmarks"}
    assert batch.tried == len(batch.faces) + sum(batch.refused.values())
    assert all(face.image.mean() >= bright and (face.realism or 0) >= bar for face in batch.faces)

    detector.dark, detector.low = -1.0, 5.0
    assert not colour(likely_in_colour, 2, 0, **{**settings, "realism": 0.0}).faces
    detector.low = 1.0
    found = colour(likely_in_colour, 2, 0, **{**settings, "realism": 0.0, "max_tries": 60})
    assert found.complete
    assert found.faces[0].landmarks is not None
    assert found.faces[0].landmarks.as_record()["eyes"] == pytest.approx([EYES[0], EYES[1] + 1 / 32], abs=2e-3)


def test_of_several_faces_the_one_in_place_counts() -> None:
    class Two(Detector):
        def detect_all(self, pictures: Any) -> list[list[DetectedFace]]:
            return [[Detector(20.0)._face(64), self._face(64)] for _ in pictures]

    assert find_landmarks(Two(), np.zeros((1, 64, 64, 3), np.uint8))[0].in_place


def test_files_are_in_colour_and_say_what_was_told_and_found(
    colour_weights: Path, likely_in_colour: str, tmp_path: Path, detector: Detector, capsys: pytest.CaptureFixture[str]
) -> None:
    easy = ["--threshold", "0", "--max-tries", "60", "--count", "3", "--weights", str(colour_weights), "--device", "cpu"]
    ask = ["--landmarks", "on", "--age", "30-39", "--group", "any", "--guided", "0.1", "0.9", "--realism", "0.3"]
    assert sample(["--emotion", likely_in_colour, "--out", str(tmp_path / "faces"), *easy, *ask, "--mark"]) == 0
    made = json.loads((tmp_path / "faces" / "manifest.json").read_text())
    asked, result = made["request"], made["result"]
    assert (asked["guided"], asked["steps"], asked["look"], asked["realism"]) == ([0.1, 0.9], 4, "photo", 0.3)
    assert result["tried"] == 3 + sum(result["refused"].values())
    assert set(made["weights_sha256"]) == {"encoder", "tokenizer", "prior", "critic"}
    assert "refused by" in capsys.readouterr().out
    for face in made["faces"]:
        assert face["told"]["age"] == "30-39"
        assert face["told"]["group"] is None
        assert face["told"]["gender"] in ATTRIBUTES["gender"]
        assert face["realism"] >= 0.3
        assert face["landmarks"]["score"] == 0.9
        with Image.open(tmp_path / "faces" / face["file"]) as picture:
            assert (picture.mode, picture.size) == ("RGB", (32, 32))
            assert "age 30-39" in picture.text["Told"]
    with Image.open(tmp_path / "faces" / "contact_sheet.png") as picture:
        assert picture.mode == "RGB"
    few = ["--count", "1", "--max-tries", "2"]
    assert sample(["--strip", "neutral:fear", "--frames", "3", "--out", str(tmp_path / "strip"), *easy, *few]) == 0
    strip = json.loads((tmp_path / "strip" / "manifest.json").read_text())
    assert all(face["accepted"] != ("refused_by" in face) for face in strip["faces"])
    with Image.open(tmp_path / "strip" / "strip.png") as picture:
        assert picture.mode == "RGB"


@pytest.mark.parametrize("form", ["folders", "parquet"])
def test_sets_hold_colour_and_what_was_told(
    colour_weights: Path, likely_in_colour: str, tmp_path: Path, form: str, detector: Detector
) -> None:
    out = tmp_path / "set"
    easy = ["--threshold", "0", "--max-tries", "60", "--least-difference", "0", "--device", "cpu", "--landmarks", "on"]
    command = ["--counts", f"{likely_in_colour}:8", "--weights", str(colour_weights), "--out", str(out), "--format", form]
    assert make_set([*command, *easy, "--valid", "0", "--quiet"]) == 0
    if form == "folders":
        with (out / "faces.csv").open() as stream:
            rows = list(csv.DictReader(stream))
        pictures = [Image.open(out / row["file"]) for row in rows]
    else:
        import pyarrow.parquet as pq

        rows = pq.read_table(out / "train.parquet").to_pylist()
        pictures = [Image.open(io.BytesIO(row["image"]["bytes"])) for row in rows]
    assert len(rows) == 8
    assert {(picture.mode, picture.size) for picture in pictures} == {("RGB", (32, 32))}
    pipe = FacePipeline.from_pretrained(colour_weights)
    request = pipe.settled(pipe.request(likely_in_colour))
    for row in rows:
        told = attributes_of(request, [int(row["seed"])], ATTRIBUTE_NAMES)[0]
        assert [row[name] for name in ATTRIBUTE_NAMES] == [ATTRIBUTES[n][c] for n, c in zip(ATTRIBUTE_NAMES, told, strict=True)]
        assert float(row["realism"]) >= 0.3
        assert float(row["face_score"]) == pytest.approx(0.9)
    assert load_faces(out, "train", size=16).images.shape[1:] == (16, 16)
    made = json.loads((out / "manifest.json").read_text())
    assert made["pictures"] == {"side": 32, "colour": True}
    refused = made["emotions"][likely_in_colour]["refused_draws"]
    assert refused.get("realism", 0) + refused.get("emotion", 0) > 0
    card = (out / "README.md").read_text()
    assert "8 colour faces of 32 × 32" in card
    assert "gender (even)" in card
    assert "more real than 40 %" in card


def test_a_set_that_was_stopped_keeps_what_vetoes_said(
    colour: FacePipeline, likely_in_colour: str, tmp_path: Path, detector: Detector
) -> None:
    options = {"threshold": 0.0, "max_tries": 60, "least_difference": 0.0, "landmarks": "on"}
    from generation.dataset.order import ask

    request = ask({likely_in_colour: 6}, **options).spelt_out(colour)
    first = collect(colour, request, tmp_path)
    looked_at = detector.looked_at
    again = collect(colour, request, tmp_path)
    assert detector.looked_at == looked_at
    assert again.tallies == first.tallies
    from generation.dataset.blocks import draw_block, load_block

    stored, drawn = load_block(tmp_path, request, 0, colour.attributes), draw_block(colour, request, 0)
    for one, other in zip(stored.faces, drawn.faces, strict=True):
        assert np.array_equal(one.image, other.image)
        assert (one.told, one.realism, one.landmarks) == (other.told, other.realism, other.landmarks)
    assert stored.refused == {cause: drawn.refused.get(cause, 0) for cause in CAUSES}


def test_an_edit_changes_colour_too_and_nothing_outside_its_region(colour: FacePipeline, rng: np.random.Generator) -> None:
    noise = Image.fromarray(rng.integers(60, 200, (12, 12, 3), dtype=np.uint8))
    picture = np.asarray(noise.resize((220, 200), Image.Resampling.BICUBIC))
    points = np.array([(85, 80), (135, 90), (108, 110), (88, 130), (122, 136)], np.float32)
    face = DetectedFace((60, 40, 100, 110), 0.9, points)

    class Found:
        def detect(self, _picture: np.ndarray) -> list[DetectedFace]:
            return [face]

    place = face_square(face, colour.tokenizer.config.crop)
    eyes = place.to_crop(face.eyes)
    assert eyes.mean(axis=0) == pytest.approx(EYES, abs=1e-6)
    assert eyes[1] - eyes[0] == pytest.approx([EYE_DISTANCE, 0.0], abs=1e-6)
    edited = colour.edit(picture, "fear", region="mouth", detector=Found(), count=1)
    assert (edited.request.look, edited.request.gender, edited.request.hands) == ("photo", "any", "no")
    after = edited.render(edited.edits[0])
    rows, columns = np.nonzero((after != picture).any(axis=-1))
    changed = place.to_crop(np.stack([columns, rows], axis=1))
    assert len(changed) > 100
    assert changed.min() >= -0.02
    assert changed.max() <= 1.02
    assert changed[:, 1].min() > 0.4
    chroma = [rgb - luma(rgb)[..., None] for rgb in (after, picture)]
    assert np.abs(chroma[0] - chroma[1]).max() > 4
