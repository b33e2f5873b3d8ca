"""The first losses of both stages on drawn faces, held against those of earlier releases: a change of the method shows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vqvae.train import main

GOLDEN = Path(__file__).with_name("golden_losses.json")
STAGE = ["max_minutes=null", "epochs=5", "batch_size=16", "log_every=1", "evaluate_every=99"]
SETTINGS = [
    *("tokenizer.size=32", "tokenizer.widths=[8,16]", "tokenizer.codebook_size=32", "tokenizer.code_dim=4", "tokenizer.groups=2"),
    *("prior.width=32", "prior.depth=2", "prior.heads=2", "loss.adversarial=0.1", "loss.adversarial_start=0.5"),
    *(f"{stage}_stage.{setting}" for stage in ("tokenizer", "prior") for setting in STAGE),
    *("faces.drawn_count=64", "device=cpu", "precision=no"),
]


def check(folder: Path, stage: str, expected: list[float]) -> None:
    rows = [json.loads(line) for line in (folder / stage / "metrics.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in rows if "loss" in row]
    assert len(losses) == len(expected) == 20
    # Rounding differs between processors, and grows where a face changes its code: by 3.5 % in one step from AMD to Intel. It
    # evens out over the steps; a real change does not.
    assert losses[:5] == pytest.approx(expected[:5], rel=1e-3), f"{stage}: {losses}"
    assert losses == pytest.approx(expected, rel=6e-2), f"{stage}: {losses}"
    assert sum(losses) == pytest.approx(sum(expected), rel=1e-2), f"{stage}: {losses}"


def test_the_first_twenty_losses_are_those_of_earlier_releases(tmp_path: Path) -> None:
    assert main([*SETTINGS, "--out", str(tmp_path)]) == 0
    golden = json.loads(GOLDEN.read_text())
    for stage in ("tokenizer", "prior"):
        check(tmp_path, stage, golden[stage])


def test_the_first_losses_by_an_encoder_are_those_of_earlier_releases(tmp_path: Path, small_encoder: Any) -> None:
    small_encoder(32).save_pretrained(tmp_path / "encoder")
    losses = ["loss.emotion=0.2", "loss.emotion_start=0.3", "loss.perceptual=0.25", f"encoder={tmp_path / 'encoder'}"]
    assert main([*SETTINGS, *losses, "--stage", "tokenizer", "--out", str(tmp_path)]) == 0
    check(tmp_path, "tokenizer", json.loads(GOLDEN.read_text())["tokenizer_by_encoder"])
