"""The measure of edits: shares on cases whose answer is known, and the whole program on tiny weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from configs.cli import UserError
from encoder.detection.align import crop_face
from encoder.emotions import EMOTION_NAMES
from eval import editing
from eval.experiments.editing import WholePicture
from generation.pipeline import FacePipeline


@pytest.fixture
def data(tmp_path: Path, rng: np.random.Generator) -> Path:
    """A folder data set with three neutral test faces."""
    for name, count in (("neutral", 3), ("happy", 1)):
        (tmp_path / "data" / "test" / name).mkdir(parents=True)
        (tmp_path / "data" / "train" / name).mkdir(parents=True)
        for number in range(count):
            for split in ("test", "train"):
                face = Image.fromarray(rng.integers(0, 256, (48, 48), dtype=np.uint8))
                face.save(tmp_path / "data" / split / name / f"{number}.png")
    return tmp_path / "data"


def test_a_face_that_fills_its_picture_is_the_whole_crop(rng: np.random.Generator) -> None:
    picture = np.repeat(rng.integers(0, 256, (12, 12, 1), dtype=np.uint8).repeat(8, 0).repeat(8, 1), 3, axis=2)
    (face,) = WholePicture().detect(picture)
    assert np.abs(crop_face(picture, face, 96).astype(int) - picture).mean() < 4


def test_every_face_has_seeds_of_its_own(places: list[str], data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[set[int]] = []
    original = FacePipeline.edit

    def noted(self: FacePipeline, *rest: Any, **settings: Any) -> Any:
        edited = original(self, *rest, **settings)
        seeds.append({edit.seed for edit in edited.edits})
        return edited

    monkeypatch.setattr(FacePipeline, "edit", noted)
    options = ["--count", "3", "--proposals", "2", "--emotions", "fear"]
    assert editing.main(["--data", str(data), *options, *places]) == 0
    assert [len(each) for each in seeds] == [2, 2, 2]
    assert len(set.union(*seeds)) == 6


def test_the_program_reports_every_emotion(
    places: list[str], data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sheet = tmp_path / "sheet.png"
    options = ["--count", "2", "--proposals", "2", "--emotions", "joie,fear", "--seed", "3", "--sheet", str(sheet)]
    assert editing.main(["--data", str(data), *options, *places]) == 0
    assert "judge, before" in capsys.readouterr().out
    report = json.loads((tmp_path / "editing.json").read_text())
    assert (report["split"], report["from"], report["count"], report["seed"]) == ("test", "neutral", 2, 3)
    assert set(report["emotions"]) == {"happiness", "fear"} <= set(EMOTION_NAMES)
    for row in report["emotions"].values():
        assert row["faces"] == 2
        # Both judges are the same network here.
        assert row["encoder"]["share"] == row["judge"]["share"]
        assert row["same_person"] is None
        assert row["change"] > 0
    with Image.open(sheet) as picture:
        assert "changed by AI" in picture.text["Description"]


def test_more_faces_than_there_are_is_one_line(places: list[str], data: Path) -> None:
    with pytest.raises(UserError, match="between 2 and 3, the test faces labelled neutral"):
        editing.main(["--data", str(data), *places, "--count", "9"])
