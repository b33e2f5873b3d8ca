"""The measure of edits: shares on cases whose answer is known, and the whole program on tiny weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from configs.cli import UserError
from encoder.config import CalibrationConfig, ModelConfig, PreprocessingConfig
from encoder.detection.align import crop_face
from encoder.emotions import EMOTION_NAMES
from encoder.inference.emotion_encoder import EmotionEncoder
from encoder.models.create import create_model
from eval import editing
from vqvae.config import PriorConfig, TokenizerConfig
from vqvae.prior import MaskedPrior, PriorShape
from vqvae.tokenizer import Tokenizer


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("weights")
    net = create_model(ModelConfig(widths=(8, 16), depths=(1, 1), heads=("fer2013",)))
    EmotionEncoder(net, PreprocessingConfig(size=16), CalibrationConfig()).save_pretrained(folder / "encoder")
    config = TokenizerConfig(size=16, widths=(8, 16), codebook_size=8, code_dim=4, groups=1)
    Tokenizer(config).save_pretrained(folder / "tokenizer")
    shape = PriorShape(prior=PriorConfig(width=16, depth=1, heads=2), positions=16, groups=1, codebook_size=8)
    MaskedPrior(shape).save_pretrained(folder / "prior")
    return folder


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
    (face,) = editing.WholePicture().detect(picture)
    assert np.abs(crop_face(picture, face, 96).astype(int) - picture).mean() < 4


def test_the_program_reports_every_emotion(weights: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sheet = tmp_path / "sheet.png"
    options = ["--count", "2", "--proposals", "2", "--emotions", "joie,fear", "--device", "cpu", "--seed", "3"]
    places = ["--weights", str(weights), "--judge", str(weights / "encoder"), "--out", str(tmp_path), "--sheet", str(sheet)]
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


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--emotions", "fera"], "did you mean 'fear'"),
        (["--from", "nutral"], "did you mean 'neutral'"),
        (["--count", "9"], "between 2 and 3, the test faces labelled neutral"),
    ],
)
def test_bad_options_are_one_line(weights: Path, data: Path, options: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        editing.main(["--data", str(data), "--weights", str(weights), "--judge", str(weights / "encoder"), *options])
