"""Both stages of ``vqvae/train.py``, broken off and resumed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import vqvae.stages as stages
import vqvae.token_store as token_store
from configs.cli import UserError
from encoder.config import CalibrationConfig, ModelConfig, PreprocessingConfig
from encoder.inference.emotion_encoder import EmotionEncoder
from encoder.models.create import create_model
from engine.training.task import TrainingTask
from vqvae.config import VqvaeConfig
from vqvae.faces import TrainingFaces
from vqvae.prior import MaskedPrior
from vqvae.prior_stage import PriorTask
from vqvae.stages import stage_minutes
from vqvae.tokenizer import Tokenizer
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
    tmp_path: Path, stage: str, task: type[TrainingTask], stop_at: int, signal_in_step: Any, differing: Any
) -> None:
    assert train(tmp_path / "whole") == 0
    with signal_in_step(task, stop_at):
        assert train(tmp_path / "broken") == 143
    assert train(tmp_path / "broken", "--resume", "latest") == 0
    assert differing(tmp_path / "whole" / stage, tmp_path / "broken" / stage) == []


def tiny_encoder(folder: Path) -> Path:
    torch.manual_seed(0)
    net = create_model(ModelConfig(widths=(8, 16), depths=(1, 1)))
    EmotionEncoder(net, PreprocessingConfig(size=16), CalibrationConfig()).save_pretrained(folder)
    return folder


def test_the_emotion_loss_joins_late_and_what_is_resumed_then_is_the_same(
    tmp_path: Path, signal_in_step: Any, differing: Any
) -> None:
    losses = [
        f"encoder={tiny_encoder(tmp_path / 'encoder')}",
        "loss.perceptual=0.1",
        "loss.emotion=0.2",
        "loss.emotion_start=0.5",
    ]
    settings = ["--stage", "tokenizer", *losses, "tokenizer_stage.log_every=1"]
    assert train(tmp_path / "whole", *settings) == 0
    with signal_in_step(TokenizerTask, 17):
        assert train(tmp_path / "broken", *settings) == 143
    assert train(tmp_path / "broken", *settings, "--resume", "latest") == 0
    for out in (tmp_path / "whole", tmp_path / "broken"):
        rows = [json.loads(line) for line in (out / "tokenizer" / "metrics.jsonl").read_text().splitlines()]
        rows = [row for row in rows if "loss" in row]
        assert len(rows) == 36
        assert [row["step"] for row in rows if "emotion" in row] == list(range(19, 37))
        assert all("perceptual" in row for row in rows)
    assert differing(tmp_path / "whole" / "tokenizer", tmp_path / "broken" / "tokenizer") == []


def test_a_prior_needs_a_tokenizer_of_the_same_settings(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="needs a trained tokenizer"):
        train(tmp_path / "run", "--stage", "prior")
    assert train(tmp_path / "run", "--stage", "tokenizer") == 0
    with pytest.raises(UserError, match="other tokenizer settings"):
        train(tmp_path / "run", "--stage", "prior", "tokenizer.groups=1")


@pytest.mark.parametrize("stage", ["tokenizer", "prior"])
def test_a_stage_starts_from_given_weights(tmp_path: Path, stage: str) -> None:
    assert train(tmp_path / "first") == 0
    first = load_file(tmp_path / "first" / "weights" / stage / "model.safetensors")
    start = f"{stage}_stage.init={tmp_path / 'first' / 'weights' / stage}"
    if stage == "prior":
        for run in ("second", "third"):
            shutil.copytree(tmp_path / "first" / "weights" / "tokenizer", tmp_path / run / "weights" / "tokenizer")
    assert train(tmp_path / "second", "--stage", stage, start, f"{stage}_stage.learning_rate=1e-9") == 0
    second = load_file(tmp_path / "second" / "weights" / stage / "model.safetensors")
    learned = [name for name in first if not name.startswith("quantizer")]
    assert all(torch.allclose(first[name].float(), second[name].float(), atol=1e-3) for name in learned)
    other = "tokenizer.groups=1" if stage == "tokenizer" else "prior.depth=2"
    with pytest.raises(UserError, match=f"{stage}_stage.init"):
        train(tmp_path / "third", "--stage", stage, start, other)


def test_a_decoder_trained_further_keeps_the_tokens_and_the_prior(tmp_path: Path) -> None:
    assert train(tmp_path / "first", "--stage", "tokenizer") == 0
    weights = tmp_path / "first" / "weights"
    # As small weights become in half precision; arithmetic that changes no value may still change their sign.
    tokenizer = Tokenizer.from_pretrained(weights / "tokenizer")
    next(tokenizer.down.parameters())[0] = -0.0
    tokenizer.save_pretrained(weights / "tokenizer")
    assert train(tmp_path / "first", "--resume", "latest") == 0
    settings = [f"tokenizer_stage.init={weights / 'tokenizer'}", "tokenizer_stage.trainable=decoder", "loss.adversarial=0"]
    assert train(tmp_path / "second", "--stage", "tokenizer", *settings) == 0
    first, second = (load_file(tmp_path / run / "weights" / "tokenizer" / "model.safetensors") for run in ("first", "second"))
    moved = {name.split(".")[0] for name in first if not torch.equal(first[name], second[name])}
    assert moved == {"up"}
    old, new = (Tokenizer.from_pretrained(tmp_path / run / "weights" / "tokenizer") for run in ("first", "second"))
    assert old.encoding_sha256() == new.encoding_sha256()
    assert MaskedPrior.from_pretrained(weights / "prior").shape.tokenizer_sha256 == new.encoding_sha256()
    with torch.no_grad():
        old.quantizer.codes[0, 0, 0] += 1.0  # type: ignore[index]
    assert old.encoding_sha256() != new.encoding_sha256()


def test_a_decoder_alone_needs_a_tokenizer_to_decode(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="name it in init"):
        train(tmp_path / "run", "tokenizer_stage.trainable=decoder")


def test_tokens_are_read_once_per_tokenizer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    original = token_store.tokenise

    def counted(tokenizer: Tokenizer, images: np.ndarray) -> torch.Tensor:
        calls.append(len(images))
        return original(tokenizer, images)

    monkeypatch.setattr(token_store, "tokenise", counted)
    run = tmp_path / "run"
    assert train(run) == 0
    assert calls == [48, 24]

    def prior_again() -> None:
        shutil.rmtree(run / "prior")
        (run / "weights" / "prior" / "model.safetensors").unlink()
        assert train(run, "--stage", "prior") == 0

    prior_again()
    assert calls == [48, 24]
    # Another tokenizer, or a damaged file: read again.
    (run / "cache" / "tokens-valid" / "tokens.npy").write_bytes(b"nothing")
    prior_again()
    assert calls == [48, 24, 24]
    shutil.rmtree(run / "tokenizer")
    (run / "weights" / "tokenizer" / "model.safetensors").unlink()
    assert train(run, "--stage", "tokenizer", "seed=5") == 0
    prior_again()
    assert calls == [48, 24, 24, 48, 24]


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
    with pytest.raises(SystemExit) as end:
        main(["--print-config", "prior.depth=3"])
    assert end.value.code == 0
    assert "depth: 3" in capsys.readouterr().out
    with pytest.raises(UserError, match="did you mean codebook_size"):
        main(["tokenizer.codebok_size=3"])


def test_what_the_stages_start_from_is_built_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[str] = []
    for network in (Tokenizer, MaskedPrior):
        original = network.__init__

        def counted(self: torch.nn.Module, *arguments: object, original: Any = original) -> None:
            built.append(type(self).__name__)
            original(self, *arguments)

        monkeypatch.setattr(network, "__init__", counted)

    def at_once(*_: object) -> dict[str, torch.Tensor]:
        raise KeyboardInterrupt

    monkeypatch.setattr(TokenizerTask, "train_step", at_once)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "run")
    assert built == ["Tokenizer", "MaskedPrior"]
