"""Training that is stopped, starved of disk or fed with nonsense: what was good stays, and is what a run goes on from."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import engine.storage.checkpoint
from configs.cli import UserError
from engine.storage.checkpoint import checkpoint_steps, latest_checkpoint
from engine.training.task import TrainingTask
from vqvae.prior_stage import PriorTask
from vqvae.tokenizer import Tokenizer
from vqvae.tokenizer_stage import TokenizerTask

TASKS: dict[str, type[TrainingTask]] = {"tokenizer": TokenizerTask, "prior": PriorTask}


def test_the_discriminator_and_its_optimizer_are_in_the_checkpoint(tiny_runs: Any) -> None:
    assert tiny_runs.train("run", "tokenizer") == 0
    names = tiny_runs.tensors("run", "tokenizer")
    assert {name.split("/")[0] for name in names} == {
        "tokenizer",
        "discriminator",
        "ema-tokenizer",
        "optimizer-tokenizer",
        "optimizer-discriminator",
    }
    assert any(name.startswith("optimizer-discriminator/0.exp_avg") for name in names)


@pytest.mark.parametrize("stage", ["tokenizer", "prior"])
def test_a_batch_taken_in_parts_makes_the_same_step(tiny_runs: Any, stage: str) -> None:
    # Without a codebook that moves with every part, without what differs from part to part by design.
    plain = [
        "tokenizer.quantizer=fsq",
        "tokenizer.levels=[4,4]",
        "tokenizer.codebook_size=16",
        "tokenizer.code_dim=2",
        "loss.adversarial=0",
        "prior.dropout=0",
    ]
    if stage == "prior":
        plain = ["prior.dropout=0"]
    for count in (1, 4):
        assert tiny_runs.train(str(count), stage, *plain, f"{stage}_stage.accumulate={count}", f"{stage}_stage.epochs=1") == 0
    whole, parts = tiny_runs.tensors("1", stage), tiny_runs.tensors("4", stage)
    for name in (name for name in whole if name.startswith(f"{stage}/")):
        torch.testing.assert_close(parts[name], whole[name], rtol=1e-3, atol=2e-4)


def test_a_batch_that_cannot_be_cut_is_refused(tiny_runs: Any) -> None:
    with pytest.raises(UserError, match=r"tokenizer_stage.batch_size: 8 cannot be shared by 1 process\(es\) in 3"):
        tiny_runs.train("run", "tokenizer", "tokenizer_stage.accumulate=3")


def test_only_as_many_checkpoints_are_kept_as_asked(tiny_runs: Any) -> None:
    assert tiny_runs.train("run", "tokenizer", "tokenizer_stage.keep_checkpoints=3") == 0
    assert sorted(checkpoint_steps(tiny_runs.folder / "run" / "tokenizer")) == [8, 10, 12]


def test_a_second_ctrl_c_ends_at_once(tiny_runs: Any, forked: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    original = TokenizerTask.train_step

    def impatient(self: TokenizerTask, step: int, progress: float) -> dict[str, Tensor]:
        if step == 2:
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGINT)
        return original(self, step, progress)

    monkeypatch.setattr(TokenizerTask, "train_step", impatient)

    run = forked(tiny_runs.program("run", "tokenizer"))
    assert run.wait() == [130]
    assert "stopped by Ctrl-C" in run.output()
    assert "Traceback" not in run.output()
    assert set(checkpoint_steps(tiny_runs.folder / "run" / "tokenizer")) == {2}


def test_a_full_disk_is_one_line_and_the_last_checkpoint_stands(tiny_runs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tiny_runs.train("whole", "tokenizer") == 0
    original = engine.storage.checkpoint.write_synced

    def full(path: Path, data: bytes) -> None:
        if ".tmp-6-" in str(path) and path.name == "optimizer-tokenizer.safetensors":
            Path(path).write_bytes(data[: len(data) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        original(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(engine.storage.checkpoint, "write_synced", full)
        with pytest.raises(UserError, match=r"step 6 could not be saved: the disk is full; .*earlier checkpoints are intact"):
            tiny_runs.train("broken", "tokenizer")
    newest = latest_checkpoint(tiny_runs.folder / "broken" / "tokenizer")
    assert newest is not None
    assert newest.name == "step-00000004"
    assert tiny_runs.train("broken", "tokenizer", "--resume", "latest") == 0
    assert tiny_runs.differing("whole", "broken", "tokenizer") == []


def test_figures_that_cannot_be_written_do_not_stop_training(tiny_runs: Any, capsys: pytest.CaptureFixture[str]) -> None:
    (tiny_runs.folder / "run" / "tokenizer" / "metrics.jsonl").mkdir(parents=True)
    assert tiny_runs.train("run", "tokenizer", "tokenizer_stage.evaluate_every=4") == 0
    assert capsys.readouterr().err.count("metrics.jsonl: cannot be written") == 1


@pytest.mark.parametrize(("stage", "name"), [("tokenizer", "pixel"), ("prior", "gradient_norm")])
def test_a_loss_that_is_not_finite_says_where_and_keeps_the_last_good_state(
    tiny_runs: Any, monkeypatch: pytest.MonkeyPatch, stage: str, name: str
) -> None:
    original = TASKS[stage].train_step

    def broken(self: TrainingTask, step: int, progress: float) -> dict[str, Tensor]:
        losses = original(self, step, progress)
        if step == 7:
            losses[name] = losses["loss"] / 0.0
            next(iter(self.modules.values())).apply(lambda module: [p.data.fill_(torch.nan) for p in module.parameters()])
        return losses

    with monkeypatch.context() as patch:
        patch.setattr(TASKS[stage], "train_step", broken)
        with pytest.raises(UserError, match=rf"^{stage}: {name} is not finite \(inf\) in step 8, epoch 2, .* items [0-9]+, "):
            tiny_runs.train("run", stage)
    newest = latest_checkpoint(tiny_runs.folder / "run" / stage)
    assert newest is not None
    assert newest.name == "step-00000006"
    assert all(tensor.isfinite().all() for tensor in tiny_runs.tensors("run", stage).values())


def test_the_step_of_a_batch_that_broke_the_weights_is_named_before_they_are_saved(
    tiny_runs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Tokenizer.forward

    def forward(self: Tokenizer, faces: Tensor) -> Any:
        made, *rest = original(self, faces)
        # A finite loss whose gradient is not.
        return (made + (made - made.detach()).abs().sqrt().sum() * 0.0, *rest)

    monkeypatch.setattr(Tokenizer, "forward", forward)
    with pytest.raises(UserError, match=r"gradient_norm is not finite \(nan\) in step 1, epoch 1"):
        tiny_runs.train("run", "tokenizer")
    assert checkpoint_steps(tiny_runs.folder / "run" / "tokenizer") == {}


def test_a_discriminator_that_broke_is_named_before_it_is_saved(tiny_runs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import vqvae.tokenizer_stage as tokenizer_stage

    original = tokenizer_stage.discriminator_loss

    def broken(real: Tensor, made: Tensor) -> Tensor:
        # A finite loss whose gradient is not.
        return original(real, made) + (real - real.detach()).abs().sqrt().sum() * 0.0

    monkeypatch.setattr(tokenizer_stage, "discriminator_loss", broken)
    with pytest.raises(UserError, match=r"discriminator_gradient_norm is not finite \(nan\) in step 4, epoch 1"):
        tiny_runs.train("run", "tokenizer")
    assert max(checkpoint_steps(tiny_runs.folder / "run" / "tokenizer")) == 2


def test_a_named_checkpoint_is_used_or_refused(tiny_runs: Any) -> None:
    assert tiny_runs.train("run", "tokenizer", "tokenizer_stage.keep_checkpoints=4") == 0
    old = tiny_runs.folder / "run" / "tokenizer" / "checkpoints" / "step-00000006"
    with pytest.raises(UserError, match=r"holds later checkpoints .step-00000012.; choose another --out"):
        tiny_runs.train("run", "tokenizer", "--resume", str(old))
    assert tiny_runs.train("branch", "tokenizer", "--resume", str(old)) == 0
    assert tiny_runs.differing("run", "branch", "tokenizer") == []
    with pytest.raises(UserError, match="it is of another stage or program"):
        tiny_runs.train("prior", "prior", "--resume", str(old))
    with pytest.raises(UserError, match="resume with the configuration of the run"):
        tiny_runs.train("other", "tokenizer", "tokenizer.widths=[8,12]", "--resume", str(old))
    with pytest.raises(UserError, match="say which stage"):
        tiny_runs.train("both", "both", "--resume", str(old))
    (old / "state.json").write_bytes(b"{}")
    with pytest.raises(UserError, match="damaged"):
        tiny_runs.train("damaged", "tokenizer", "--resume", str(old))


def test_a_run_begun_before_a_setting_existed_resumes(tiny_runs: Any) -> None:
    assert tiny_runs.train("run", "tokenizer", "tokenizer_stage.epochs=1") == 0
    config = tiny_runs.folder / "run" / "tokenizer" / "config.yaml"
    config.write_text(config.read_text().replace("  accumulate: 1\n", ""))
    (tiny_runs.folder / "run" / "weights" / "tokenizer" / "model.safetensors").unlink()
    assert tiny_runs.train("run", "tokenizer", "tokenizer_stage.epochs=1", "--resume", "latest") == 0
    (tiny_runs.folder / "run" / "weights" / "tokenizer" / "model.safetensors").unlink()
    with pytest.raises(UserError, match="configuration differs"):
        tiny_runs.train("run", "tokenizer", "tokenizer_stage.epochs=1", "seed=9", "--resume", "latest")


def test_latest_starts_anew_when_nothing_was_saved_yet_and_refuses_when_all_is_damaged(
    tiny_runs: Any, forked: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UserError, match="holds no run"):
        tiny_runs.train("absent", "tokenizer", "--resume", "latest")
    with monkeypatch.context() as patch:
        patch.setattr(TokenizerTask, "train_step", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        assert forked(lambda _rank: tiny_runs.train("run", "tokenizer")).wait() == [-signal.SIGKILL]
    assert tiny_runs.train("run", "tokenizer", "--resume", "latest") == 0
    assert "holds no checkpoint yet; starting from the beginning" in capsys.readouterr().err
    (tiny_runs.folder / "run" / "weights" / "tokenizer" / "model.safetensors").unlink()
    for path in checkpoint_steps(tiny_runs.folder / "run" / "tokenizer").values():
        (path / "state.json").unlink()
    with pytest.raises(UserError, match="holds no checkpoint that verifies"):
        tiny_runs.train("run", "tokenizer", "--resume", "latest")
    assert capsys.readouterr().err.count("skipping checkpoint") == 2
