"""Training that is stopped, starved of disk or fed with nonsense: what was good stays, and is what a run goes on from."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import vqvae.tokenizer_stage as tokenizer_stage
from configs.cli import UserError
from engine.storage.checkpoint import checkpoint_steps
from engine.training.task import TrainingTask
from vqvae.prior_stage import PriorTask
from vqvae.tokenizer_stage import TokenizerTask

TASKS: dict[str, type[TrainingTask]] = {"tokenizer": TokenizerTask, "prior": PriorTask}


def test_the_discriminator_and_its_optimizer_are_in_the_checkpoint(tiny_runs: Any) -> None:
    assert tiny_runs.train("run", "tokenizer") == 0
    names = tiny_runs.tensors("run", "tokenizer")
    trained = {"tokenizer", "discriminator", "optimizer-tokenizer", "optimizer-discriminator"}
    assert {name.split("/")[0] for name in names} == {*trained, "ema-tokenizer"}
    assert any(name.startswith("optimizer-discriminator/0.exp_avg") for name in names)


@pytest.mark.parametrize("stage", ["tokenizer", "prior"])
def test_a_batch_taken_in_parts_makes_the_same_step(tiny_runs: Any, stage: str) -> None:
    # Without a codebook that moves with every part, without what differs from part to part by design.
    lattice = [f"tokenizer.{each}" for each in ("quantizer=fsq", "levels=[4,4]", "codebook_size=16", "code_dim=2")]
    plain = ["prior.dropout=0"] if stage == "prior" else [*lattice, "loss.adversarial=0"]
    for count in (1, 4):
        assert tiny_runs.train(str(count), stage, *plain, f"{stage}_stage.accumulate={count}", f"{stage}_stage.epochs=1") == 0
    whole, parts = tiny_runs.tensors("1", stage), tiny_runs.tensors("4", stage)
    for name in (name for name in whole if name.startswith(f"{stage}/")):
        torch.testing.assert_close(parts[name], whole[name], rtol=1e-3, atol=2e-4)


def test_a_second_ctrl_c_ends_at_once(tiny_runs: Any, forked: Callable[..., Any], before_each: Callable[..., None]) -> None:
    def impatient(_self: TokenizerTask, step: int, _progress: float) -> None:
        for _ in range(2 * (step == 2)):
            os.kill(os.getpid(), signal.SIGINT)

    before_each(TokenizerTask, "train_step", impatient)
    said = forked(tiny_runs.program("run", "tokenizer")).ends(130)
    assert "stopped by Ctrl-C" in said
    assert "Traceback" not in said
    assert set(checkpoint_steps(tiny_runs.folder / "run" / "tokenizer")) == {2}


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
    assert max(checkpoint_steps(tiny_runs.folder / "run" / stage)) == 6
    assert all(tensor.isfinite().all() for tensor in tiny_runs.tensors("run", stage).values())


@pytest.mark.parametrize(
    ("loss", "norm", "step", "saved"),
    [("pixel_loss", "gradient_norm", 1, []), ("discriminator_loss", "discriminator_gradient_norm", 4, [2])],
)
def test_the_batch_that_broke_a_network_is_named_before_that_is_saved(
    tiny_runs: Any, monkeypatch: pytest.MonkeyPatch, loss: str, norm: str, step: int, saved: list[int]
) -> None:
    original = getattr(tokenizer_stage, loss)

    def broken(faces: Tensor, others: Tensor) -> Tensor:
        # A finite loss whose gradient is not.
        return original(faces, others) + (faces - faces.detach()).abs().sqrt().sum() * 0.0

    monkeypatch.setattr(tokenizer_stage, loss, broken)
    with pytest.raises(UserError, match=rf": {norm} is not finite \(nan\) in step {step}, epoch 1"):
        tiny_runs.train("run", "tokenizer")
    assert sorted(checkpoint_steps(tiny_runs.folder / "run" / "tokenizer")) == saved


def test_as_many_checkpoints_are_kept_as_asked_and_a_named_one_is_used_or_refused(tiny_runs: Any) -> None:
    assert tiny_runs.train("run", "tokenizer", "tokenizer_stage.keep_checkpoints=4") == 0
    kept = checkpoint_steps(tiny_runs.folder / "run" / "tokenizer")
    assert sorted(kept) == [6, 8, 10, 12]
    old = kept[6]
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
    tiny_runs.weights("run", "tokenizer").unlink()
    assert tiny_runs.train("run", "tokenizer", "tokenizer_stage.epochs=1", "--resume", "latest") == 0
    tiny_runs.weights("run", "tokenizer").unlink()
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
    tiny_runs.weights("run", "tokenizer").unlink()
    for path in checkpoint_steps(tiny_runs.folder / "run" / "tokenizer").values():
        (path / "state.json").unlink()
    with pytest.raises(UserError, match="holds no checkpoint that verifies"):
        tiny_runs.train("run", "tokenizer", "--resume", "latest")
    assert capsys.readouterr().err.count("skipping checkpoint") == 2
