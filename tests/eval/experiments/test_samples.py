"""The programs that measure tokenizer and generated faces, on tiny weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from PIL import Image

from encoder.emotions import EMOTION_NAMES
from encoder.inference.emotion_encoder import EmotionEncoder
from eval import reconstruction, samples
from eval.experiments import reconstruction as experiment
from eval.faces.real import load_real
from eval.measures.reconstruction import kept


def test_reconstruction_reports_every_figure(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiment, "load_real", partial(load_real, drawn=40))
    folders = {"weights": "tokenizer", "encoder": "encoder", "judge": "judge"}
    parts = [f"--{name}={weights / folder}" for name, folder in folders.items()]
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
    assert kept(read, read) == 12


def test_samples_reports_every_emotion_and_reads_all_faces_at_one_size(
    places: list[str], drawn_data: Path, tmp_path: Path, before_each: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = set[int]()
    before_each(EmotionEncoder, "predict", lambda _self, faces, **_options: sizes.add(faces.shape[-1]))
    sheet = tmp_path / "sheet.png"
    options = ["--per-emotion", "2", "--threshold", "0", "--steps", "2", "--columns", "2", "--sheet", str(sheet)]
    assert samples.main([*options, *places, "--data", str(drawn_data)]) == 0
    assert sizes - {1} == {16}  # 1: of no faces, where none was accepted
    report = json.loads((tmp_path / "samples.json").read_text())
    for emotion in EMOTION_NAMES:
        assert report[emotion]["asked"] == 2
        assert 0 <= report[emotion]["judge_first_try"] <= 1
        assert report[emotion]["accepted"] <= report[emotion]["tried"]
        assert set(report[emotion]["real"]) == {"encoder", "judge"}
    with Image.open(sheet) as picture:
        assert "/trainedAlgorithmicMedia" in picture.text["XML:com.adobe.xmp"]
        assert picture.text["Seed"] == "0 and following"
        assert report["weights"]["prior"] in picture.text["Weights SHA-256"]
    assert "judge, real" in capsys.readouterr().out
