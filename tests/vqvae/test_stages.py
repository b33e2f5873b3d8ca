"""Both stages of ``vqvae/train.py``, broken off and resumed."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

import vqvae.stages as stages
from configs.cli import UserError
from encoder.checkpoint import latest_checkpoint, load_checkpoint
from encoder.training import TrainingTask
from vqvae.config import VqvaeConfig
from vqvae.faces import TrainingFaces
from vqvae.prior_stage import PriorTask
from vqvae.stages import stage_minutes
from vqvae.tokenizer_stage import TokenizerTask
from vqvae.train import main

SETTINGS = [
    "tokenizer.size=16",
    "tokenizer.widths=[8,16]",
    "tokenizer.codebook_size=16",
    "tokenizer.code_dim=4",
    "tokenizer.groups=2",
    "prior.width=16",
    "prior.depth=1",
    "prior.heads=2",
    "tokenizer_stage.max_minutes=null",
    "prior_stage.max_minutes=null",
    "tokenizer_stage.epochs=6",
    "prior_stage.epochs=6",
    "tokenizer_stage.batch_size=8",
    "prior_stage.batch_size=8",
    "loss.adversarial=0.1",
    "loss.adversarial_start=0.3",
    "device=cpu",
    "precision=no",
]


@pytest.fixture(autouse=True)
def _made_up_faces(monkeypatch: pytest.MonkeyPatch) -> None:
    def faces(_config: VqvaeConfig, split: str) -> TrainingFaces:
        rng = np.random.default_rng(len(split))
        count = 48 if split == "train" else 24
        labels = np.eye(7, dtype=np.float32)[np.arange(count) % 7]
        return TrainingFaces(rng.integers(0, 256, (count, 16, 16), dtype=np.uint8), labels, np.full(count, 2))

    monkeypatch.setattr(stages, "load_training_faces", faces)


def train(out: Path, *more: str) -> int:
    return main([*SETTINGS, "--out", str(out), *more])


def tensors(out: Path, stage: str) -> dict[str, torch.Tensor]:
    newest = latest_checkpoint(out / stage)
    assert newest is not None
    groups = load_checkpoint(newest).tensors
    return {f"{group}/{name}": tensor for group, members in groups.items() for name, tensor in members.items()}


def test_both_stages_leave_weights_and_pictures(tmp_path: Path) -> None:
    assert train(tmp_path / "run") == 0
    for name in ("reconstructions.png", "generated.png"):
        assert (tmp_path / "run" / name).read_bytes().startswith(b"\x89PNG")
    for stage in ("tokenizer", "prior"):
        assert (tmp_path / "run" / "weights" / stage / "model.safetensors").is_file()
        assert (tmp_path / "run" / stage / "metrics.jsonl").is_file()
    # Everything is there: going on finds nothing to do.
    before = (tmp_path / "run" / "weights" / "prior" / "model.safetensors").stat().st_mtime_ns
    assert train(tmp_path / "run", "--resume", "latest") == 0
    assert (tmp_path / "run" / "weights" / "prior" / "model.safetensors").stat().st_mtime_ns == before


@pytest.mark.parametrize(("stage", "task", "stop_at"), [("tokenizer", TokenizerTask, 15), ("prior", PriorTask, 21)])
def test_interrupted_and_resumed_equals_unbroken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str, task: type[TrainingTask], stop_at: int
) -> None:
    assert train(tmp_path / "whole") == 0
    original = task.train_step

    def interrupted(self: TrainingTask, step: int, progress: float) -> dict[str, torch.Tensor]:
        if step == stop_at:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(self, step, progress)

    with monkeypatch.context() as patch:
        patch.setattr(task, "train_step", interrupted)
        assert train(tmp_path / "broken") == 143
    assert train(tmp_path / "broken", "--resume", "latest") == 0
    whole, broken = tensors(tmp_path / "whole", stage), tensors(tmp_path / "broken", stage)
    assert whole.keys() == broken.keys()
    assert [name for name in whole if not torch.equal(whole[name], broken[name])] == []


def test_a_prior_needs_a_tokenizer_of_the_same_settings(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="needs a trained tokenizer"):
        train(tmp_path / "run", "--stage", "prior")
    assert train(tmp_path / "run", "--stage", "tokenizer") == 0
    with pytest.raises(UserError, match="other tokenizer settings"):
        train(tmp_path / "run", "--stage", "prior", "tokenizer.groups=1")


def test_losses_by_an_encoder_need_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="encoder: loss"):
        train(tmp_path / "run", "loss.emotion=0.1")


def test_time_is_shared_in_proportion() -> None:
    config = VqvaeConfig.model_validate({"tokenizer_stage": {"max_minutes": 1}, "prior_stage": {"max_minutes": 3}})
    both = ("tokenizer", "prior")
    assert stage_minutes(config, both, None) == {"tokenizer": 1, "prior": 3}
    assert stage_minutes(config, both, 8) == {"tokenizer": 2, "prior": 6}
    assert stage_minutes(config, ("prior",), 8) == {"prior": 8}
    with pytest.raises(UserError, match="positive"):
        stage_minutes(config, both, 0)


def test_settings_are_printed_and_misspelt_ones_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--print-config", "prior.depth=3"]) == 0
    assert "depth: 3" in capsys.readouterr().out
    with pytest.raises(UserError, match="did you mean codebook_size"):
        main(["tokenizer.codebok_size=3"])
