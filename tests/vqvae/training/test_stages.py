"""Both stages of ``vqvae/train.py``, broken off and resumed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import vqvae.tokens.store as token_store
from configs.cli import UserError
from vqvae.config import VqvaeConfig
from vqvae.prior import MaskedPrior
from vqvae.prior_stage import PriorTask
from vqvae.stages import stage_minutes
from vqvae.tokenizer import Tokenizer
from vqvae.tokenizer_stage import TokenizerTask
from vqvae.train import main


def test_both_stages_leave_weights_and_pictures_also_when_each_was_stopped(tiny_runs: Any, signal_in_step: Any) -> None:
    more = "prior_stage.evaluate_every=4"
    for task, resume in ((TokenizerTask, ()), (PriorTask, ("--resume", "latest"))):
        with signal_in_step(task, 3):
            assert tiny_runs.train("run", "both", more, *resume) == 143
    assert tiny_runs.train("run", "both", more, "--resume", "latest") == 0
    assert len(list((tiny_runs.folder / "run" / "prior" / "samples").iterdir())) == 3
    for name in ("reconstructions.png", "generated.png"):
        assert (tiny_runs.folder / "run" / name).read_bytes().startswith(b"\x89PNG")
    written = {stage: tiny_runs.weights("run", stage).stat().st_mtime_ns for stage in ("tokenizer", "prior")}
    assert all(len(tiny_runs.figures("run", stage)) == 12 for stage in written)
    # Everything is there: going on finds nothing to do.
    assert tiny_runs.train("run", "both", more, "--resume", "latest") == 0
    assert {stage: tiny_runs.weights("run", stage).stat().st_mtime_ns for stage in written} == written


def test_the_emotion_loss_joins_late_and_what_is_resumed_then_is_the_same(
    tiny_runs: Any, tmp_path: Path, small_encoder: Any, signal_in_step: Any
) -> None:
    small_encoder(16).save_pretrained(tmp_path / "encoder")
    settings = [f"encoder={tmp_path / 'encoder'}", "loss.perceptual=0.1", "loss.emotion=0.2", "loss.emotion_start=0.5"]
    assert tiny_runs.train("whole", "tokenizer", *settings) == 0
    with signal_in_step(TokenizerTask, 5):
        assert tiny_runs.train("broken", "tokenizer", *settings) == 143
    assert tiny_runs.train("broken", "tokenizer", *settings, "--resume", "latest") == 0
    for name in ("whole", "broken"):
        rows = tiny_runs.figures(name, "tokenizer")
        assert [row["step"] for row in rows if "perceptual" in row] == list(range(1, 13))
        assert [row["step"] for row in rows if "emotion" in row] == list(range(7, 13))
    assert tiny_runs.differing("whole", "broken", "tokenizer") == []


@pytest.mark.parametrize("stage", ["tokenizer", "prior"])
def test_a_stage_starts_from_given_weights(tiny_runs: Any, stage: str) -> None:
    assert tiny_runs.train("first", stage) == 0
    start = f"{stage}_stage.init={tiny_runs.weights('first', stage).parent}"
    assert tiny_runs.train("second", stage, start, f"{stage}_stage.learning_rate=1e-9") == 0
    first, second = (load_file(tiny_runs.weights(run, stage)) for run in ("first", "second"))
    learned = [name for name in first if not name.startswith("quantizer")]
    assert all(torch.allclose(first[name].float(), second[name].float(), atol=1e-3) for name in learned)
    other = "tokenizer.groups=1" if stage == "tokenizer" else "prior.depth=2"
    with pytest.raises(UserError, match=f"{stage}_stage.init"):
        tiny_runs.train("third", stage, start, other)


def test_a_decoder_trained_further_keeps_the_tokens_and_the_prior(tiny_runs: Any) -> None:
    assert tiny_runs.train("first", "tokenizer") == 0
    weights = tiny_runs.folder / "first" / "weights"
    # As small weights become in half precision; arithmetic that changes no value may still change their sign.
    tokenizer = Tokenizer.from_pretrained(weights / "tokenizer")
    next(tokenizer.down.parameters())[0] = -0.0
    tokenizer.save_pretrained(weights / "tokenizer")
    assert tiny_runs.train("first", "both", "--resume", "latest") == 0
    settings = [f"tokenizer_stage.init={weights / 'tokenizer'}", "tokenizer_stage.trainable=decoder", "loss.adversarial=0"]
    assert tiny_runs.train("second", "tokenizer", *settings) == 0
    first, second = (load_file(tiny_runs.weights(run, "tokenizer")) for run in ("first", "second"))
    moved = {name.split(".")[0] for name in first if not torch.equal(first[name], second[name])}
    assert moved == {"up"}
    old, new = (Tokenizer.from_pretrained(tiny_runs.weights(run, "tokenizer").parent) for run in ("first", "second"))
    assert old.encoding_sha256() == new.encoding_sha256()
    assert MaskedPrior.from_pretrained(weights / "prior").shape.tokenizer_sha256 == new.encoding_sha256()
    with torch.no_grad():
        old.quantizer.codes[0, 0, 0] += 1.0  # type: ignore[index]
    assert old.encoding_sha256() != new.encoding_sha256()


def test_tokens_are_read_once_per_tokenizer(tiny_runs: Any, before_each: Callable[..., None]) -> None:
    calls: list[int] = []
    before_each(token_store, "tokenise", lambda _tokenizer, images: calls.append(len(images)))
    run = tiny_runs.folder / "run"

    def again(stage: str, *more: str) -> None:
        shutil.rmtree(run / stage)
        tiny_runs.weights("run", stage).unlink()
        assert tiny_runs.train("run", stage, *more) == 0

    assert tiny_runs.train("run", "both") == 0
    again("prior")
    assert calls == [52, 24]
    # Another tokenizer, or a damaged file: read again.
    (run / "cache" / "tokens-valid" / "tokens.npy").write_bytes(b"nothing")
    again("prior")
    assert calls == [52, 24, 24]
    again("tokenizer", "seed=5")
    again("prior")
    assert calls == [52, 24, 24, 52, 24]


def test_time_is_shared_in_proportion() -> None:
    config = VqvaeConfig.model_validate({"tokenizer_stage": {"max_minutes": 1}, "prior_stage": {"max_minutes": 3}})
    both = ("tokenizer", "prior")
    assert stage_minutes(config, both, None) == {"tokenizer": 1, "prior": 3}
    assert stage_minutes(config, both, 8) == {"tokenizer": 2, "prior": 6}
    assert stage_minutes(config, ("prior",), 8) == {"prior": 8}
    with pytest.raises(UserError, match="positive"):
        stage_minutes(config, both, 0)


def test_settings_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--print-config", "prior.depth=3"])
    assert end.value.code == 0
    assert "depth: 3" in capsys.readouterr().out


def test_what_the_stages_start_from_is_built_once(tiny_runs: Any, before_each: Callable[..., None]) -> None:
    def at_once(*_: object) -> None:
        raise KeyboardInterrupt

    built: list[str] = []
    for network in (Tokenizer, MaskedPrior):
        before_each(network, "__init__", lambda self, *_: built.append(type(self).__name__))
    before_each(TokenizerTask, "train_step", at_once)
    with pytest.raises(KeyboardInterrupt):
        tiny_runs.train("run", "both")
    assert built == ["Tokenizer", "MaskedPrior"]
