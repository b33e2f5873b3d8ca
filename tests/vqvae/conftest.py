"""Tiny stages that train in milliseconds a step, on faces that were made up."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import vqvae.stages as stages
from configs.cli import run
from encoder.data.shard_writer import write_shards
from encoder.pictures.face_images import png_bytes
from vqvae.config import TokenizerConfig, VqvaeConfig
from vqvae.faces import TrainingFaces
from vqvae.tokenizer import Tokenizer
from vqvae.train import main

TOKENIZER = {"size": 16, "widths": [8, 16], "codebook_size": 8, "code_dim": 4, "groups": 2}
PRIOR = ["prior.width=16", "prior.depth=1", "prior.heads=2"]
STAGE = ["max_minutes=null", "epochs=2", "batch_size=8", "checkpoint_every=2", "evaluate_every=99", "log_every=1"]
STAGES = [f"{stage}_stage.{setting}" for stage in ("tokenizer", "prior") for setting in STAGE]
MORE = ["loss.adversarial=0.1", "loss.adversarial_start=0.3", "device=cpu", "precision=no"]
TINY = [*(f"tokenizer.{name}={value}" for name, value in TOKENIZER.items()), *PRIOR, *STAGES, *MORE]
# 52 is no multiple of the batch: the last 4 faces of every epoch are others.
COUNT = 52


class TinyRuns:
    """Trains one stage or both into a folder of its own; ``tensors`` are all of a stage's newest checkpoint."""

    def __init__(self, folder: Path, newest: Callable[..., Any], differing: Callable[..., list[str]]) -> None:
        self.folder, self._newest, self._differing = folder, newest, differing

    def train(self, name: str, stage: str, *more: str) -> int:
        if stage == "prior" and not (self.folder / name / "weights").is_dir():
            self.untrained_tokenizer(self.folder / name / "weights" / "tokenizer")
        return main([*TINY, "--stage", stage, "--out", str(self.folder / name), *more])

    def untrained_tokenizer(self, folder: Path) -> None:
        torch.manual_seed(0)
        Tokenizer(TokenizerConfig(**TOKENIZER)).save_pretrained(folder)

    def weights(self, name: str, stage: str) -> Path:
        return self.folder / name / "weights" / stage / "model.safetensors"

    def figures(self, name: str, stage: str) -> list[dict[str, Any]]:
        """What metrics.jsonl says of each step."""
        rows = (self.folder / name / stage / "metrics.jsonl").read_text().splitlines()
        return [row for row in map(json.loads, rows) if "loss" in row]

    def program(self, name: str, stage: str, *more: str) -> Callable[[int], None]:
        """For ``forked``: trains as a command does, with its exit code and one line for a mistake."""
        return lambda _rank: run(lambda _argv: self.train(name, stage, *more), [])

    def tensors(self, name: str, stage: str) -> dict[str, torch.Tensor]:
        return self._newest(self.folder / name / stage)

    def differing(self, one: str, other: str, stage: str) -> list[str]:
        """Names of tensors that are not equal bit for bit."""
        return self._differing(self.folder / one / stage, self.folder / other / stage)


@pytest.fixture
def tiny_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, newest_tensors: Any, differing: Any) -> TinyRuns:
    def faces(_config: VqvaeConfig, split: str) -> TrainingFaces:
        rng = np.random.default_rng(len(split))
        count = COUNT if split == "train" else 24
        labels = np.eye(7, dtype=np.float32)[np.arange(count) % 7]
        return TrainingFaces(rng.integers(0, 256, (count, 16, 16), dtype=np.uint8), labels, np.full(count, 2))

    monkeypatch.setattr(stages, "load_training_faces", faces)
    # Flushing matters when the machine dies, not when a process does, and takes most of the time here.
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)
    return TinyRuns(tmp_path, newest_tensors, differing)


@pytest.fixture
def shards(tiny_runs: TinyRuns, tmp_path: Path) -> list[str]:
    """Settings that read the tiny faces from shards of 9."""
    for split in ("train", "valid"):
        faces = stages.load_training_faces(VqvaeConfig(), split)  # type: ignore[arg-type]
        write_shards(tmp_path / "shards", split, zip(faces.images, faces.labels, strict=True), per_shard=9)
    return ["faces.source=shards", f"faces.shards={tmp_path / 'shards'}", "faces.look=drawn"]


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Tiny photographs, 36 for training and 12 for validation, and what raters said of them."""
    rng, folder = np.random.default_rng(3), tmp_path / "photographs"
    folder.mkdir()
    for split, count in (("train", 36), ("valid", 12)):
        faces = rng.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
        rated = {"gender": "Female", "age": "20-29", "race": "White"}
        rows = [{"image": {"bytes": png_bytes(face), "path": None}, **rated} for face in faces]
        pq.write_table(pa.Table.from_pylist(rows), folder / f"{split}.parquet")
    return folder


@pytest.fixture
def painting(photographs: Path) -> list[str]:
    """Settings of a tiny tokenizer that paints photographs; its grey faces are those of ``tiny_runs``."""
    faces = ["faces.source=real", "faces.fer2013=grey", f"faces.colour128={photographs}"]
    return [*faces, "tokenizer.painted_size=32", "tokenizer.painted_channels=3", "loss.token_noise=0.5", "encoder=null"]
