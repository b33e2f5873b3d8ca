"""The programs that measure tokenizer and generated faces, on tiny weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from configs.cli import UserError
from encoder.emotions import EMOTION_NAMES
from encoder.inference.emotion_encoder import EmotionEncoder
from encoder.pictures.face_images import png_bytes
from eval import reconstruction, samples
from eval.experiments import reconstruction as experiment
from eval.experiments import samples as samples_module
from eval.faces.real import load_real
from eval.measures.reconstruction import kept
from generation.pipeline import FacePipeline
from vqvae.config import TokenizerConfig
from vqvae.tokenizer import Tokenizer


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


def test_reconstruction_of_a_tokenizer_that_paints_photographs(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    monkeypatch.setattr(experiment, "load_real", partial(load_real, drawn=12))
    config = {"size": 16, "widths": (8, 16), "codebook_size": 8, "code_dim": 4, "groups": 4}
    Tokenizer(TokenizerConfig(**config, painted_size=32, painted_channels=3)).save_pretrained(tmp_path / "painter")
    images = [{"bytes": png_bytes(face), "path": None} for face in rng.integers(0, 256, (9, 32, 32, 3), dtype=np.uint8)]
    pq.write_table(pa.Table.from_pylist([{"image": image} for image in images]), tmp_path / "valid.parquet")
    options = ["--data", "drawn", "--photographs", str(tmp_path), "--out", str(tmp_path / "out"), "--device", "cpu"]
    readers = [f"--{name}={weights / name}" for name in ("encoder", "judge")]
    assert reconstruction.main([*options, *readers, f"--weights={tmp_path / 'painter'}"]) == 0
    figures = json.loads((tmp_path / "out" / "reconstruction.json").read_text())
    assert (figures["count"], figures["photographs"]["count"], figures["photographs"]["split"]) == (12, 9, "valid")
    assert {"photograph_psnr", "chroma_error", "colourfulness", "sharpness"} < set(figures["photographs"])
    with Image.open(tmp_path / "out" / "reconstructions.png") as picture:
        assert picture.mode == "RGB"
    with pytest.raises(UserError, match="paints no colour"):
        reconstruction.main([*options, *readers, f"--weights={weights / 'tokenizer'}", "--overwrite"])


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


def test_people_keep_their_place_on_the_sheet(places: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: dict[str, list[str]] = {}

    def look(_path: Path, images: list[np.ndarray], labels: list[str], columns: int, *_rest: object) -> None:
        assert len(images) == len(labels) == 7 * columns
        for row, emotion in enumerate(EMOTION_NAMES):
            shown[emotion] = labels[row * columns : (row + 1) * columns]

    monkeypatch.setattr(samples_module, "write_sheet", look)
    options = ["--per-emotion", "6", "--identity", "--steps", "2", "--columns", "4", "--sheet", str(tmp_path / "sheet.png")]
    assert samples.main([*options, *places, "--threshold", "0"]) == 0
    pipe = FacePipeline.from_pretrained(places[places.index("--weights") + 1])
    for emotion, labels in shown.items():
        seeds = {face.seed for face in pipe(emotion, 6, 0, identity=True, steps=2, threshold=0).faces}
        assert labels == [emotion if seed in seeds else "" for seed in range(4)]
    assert len({tuple(bool(label) for label in labels) for labels in shown.values()}) > 1
