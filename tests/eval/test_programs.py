"""The programs that measure tokenizer and generated faces, on tiny weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from encoder.inference.emotion_encoder import EmotionEncoder
from eval import reconstruction, samples


def test_reconstruction_reports_every_figure(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from encoder.drawing.faces import drawn_set

    monkeypatch.setattr(reconstruction, "load_images", lambda _data, split, size: drawn_set(split, 40, size=size).images)
    parts = [
        f"--{name}={weights / folder}" for name, folder in (("weights", "tokenizer"), ("encoder", "encoder"), ("judge", "judge"))
    ]
    assert reconstruction.main(["--data", "drawn", *parts, "--out", str(tmp_path), "--device", "cpu"]) == 0
    figures = json.loads((tmp_path / "reconstruction.json").read_text())
    assert figures["count"] == 40
    assert 0 < figures["codebook_usage"] <= 1
    assert figures["psnr_db"] > 0
    assert set(figures["emotion_kept"]) == set(figures["frechet"]) == {"encoder", "second_judge"}
    assert min(figures["frechet"].values()) > 0
    with Image.open(tmp_path / "reconstructions.png") as picture:
        assert "compositeWithTrainedAlgorithmicMedia" in picture.text["XML:com.adobe.xmp"]
        assert "may show real persons" in picture.text["Description"]


def test_a_perfect_reconstruction_keeps_every_emotion(weights: Path) -> None:
    judge = EmotionEncoder.from_pretrained(weights / "judge")
    read = judge.predict(torch.rand(12, 1, 16, 16))
    assert reconstruction.kept(read, read) == 12


def test_samples_reports_every_emotion(weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sheet = tmp_path / "sheet.png"
    judge = str(weights / "judge")
    options = ["--per-emotion", "2", "--threshold", "0", "--steps", "2", "--columns", "2", "--device", "cpu"]
    more = ["--weights", str(weights), "--judge", judge, "--out", str(tmp_path), "--sheet", str(sheet)]
    assert samples.main([*options, *more]) == 0
    report = json.loads((tmp_path / "samples.json").read_text())
    for emotion in ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral"):
        assert report[emotion]["asked"] == 2
        assert 0 <= report[emotion]["judge_first_try"] <= 1
        assert report[emotion]["accepted"] <= report[emotion]["tried"]
    with Image.open(sheet) as picture:
        assert "/trainedAlgorithmicMedia" in picture.text["XML:com.adobe.xmp"]
        assert picture.text["Seed"] == "0 and following"
        assert report["weights"]["prior"] in picture.text["Weights SHA-256"]
    assert "judge" in capsys.readouterr().out
