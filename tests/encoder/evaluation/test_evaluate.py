"""``python -m encoder.evaluate`` and ``encoder.calibrate`` on a small data set of drawn faces."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from configs.cli import UserError
from encoder import calibrate, evaluate
from encoder.drawing.faces import drawn_set
from encoder.evaluation.report import evaluate_model
from encoder.inference.emotion_encoder import EmotionEncoder


@pytest.fixture
def weights(tmp_path: Path, small_encoder: Callable[..., EmotionEncoder]) -> Path:
    small_encoder(heads=("fer2013",)).save_pretrained(tmp_path / "weights")
    return tmp_path / "weights"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Folders train/ and test/ of drawn faces, two test faces of which also stand in train."""
    from PIL import Image

    from encoder.emotions import EMOTION_NAMES

    for split, count, seed in (("train", 120, 1), ("test", 35, 2)):
        faces = drawn_set("train", count, seed=seed, size=48)
        images = faces.images.copy()
        if split == "test":
            images[:2] = drawn_set("train", 120, seed=1, size=48).images[:2]
        for number, (image, label) in enumerate(zip(images, faces.labels, strict=True)):
            folder = tmp_path / "data" / split / EMOTION_NAMES[label]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(folder / f"{number:03d}.png")
    return tmp_path / "data"


def test_the_report_is_written_and_counts_twins(
    weights: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert evaluate.main(["--data", str(data), "--weights", str(weights), "--out", str(out), "--device", "cpu"]) == 0
    report = json.loads((out / "evaluation.json").read_text())
    figures = report["heads"]["fer2013"]
    assert figures["all"]["count"] == 35
    assert report["twins_in_train"] == 2
    assert figures["without_twins"]["count"] == 33
    assert np.array(figures["all"]["confusion"]).sum() == 35
    assert (out / "confusion-fer2013.png").read_bytes().startswith(b"\x89PNG")
    assert "accuracy" in capsys.readouterr().out


def test_figures_do_not_depend_on_the_order_of_faces(weights: Path, rng: np.random.Generator) -> None:
    encoder = EmotionEncoder.from_pretrained(weights)
    faces = drawn_set("test", 42, size=24)
    shuffled = faces.subset(rng.permutation(len(faces)))
    nowhere, twin = Path("nowhere"), np.zeros(len(faces), bool)
    first, second = (evaluate_model("a", "a", nowhere, encoder, each, twin, split="test") for each in (faces, shuffled))
    assert first.figures["heads"] == second.figures["heads"]


def test_calibration_changes_the_settings_and_not_the_weights(weights: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "calibrated"
    assert calibrate.main(["--data", str(data), "--weights", str(weights), "--out", str(out)]) == 0
    assert (out / "model.safetensors").read_bytes() == (weights / "model.safetensors").read_bytes()
    fitted = EmotionEncoder.from_pretrained(out).calibration.heads["fer2013"]
    assert fitted.temperature > 0
    assert len(fitted.log_prior) == 7


def test_missing_weights_are_one_line(data: Path) -> None:
    with pytest.raises(UserError, match="nowhere: no such folder"):
        evaluate.main(["--data", str(data), "--weights", "nowhere"])


@pytest.mark.parametrize("option", ["--out", "--report"])
def test_a_file_in_the_way_is_one_line_before_any_work(weights: Path, tmp_path: Path, option: str) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(UserError, match="taken: cannot be made a folder"):
        evaluate.main(["--data", "nowhere", "--weights", str(weights), option, str(tmp_path / "taken")])
