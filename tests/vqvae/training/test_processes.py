"""Both stages in two processes on the CPU (gloo): one training, not two, and the one that a single process would do."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

import engine.storage.checkpoint
from configs.cli import UserError
from engine.devices import make_accelerator
from engine.storage.checkpoint import checkpoint_steps
from engine.training.task import TrainingTask
from vqvae.faces import FaceBatches
from vqvae.prior_stage import PriorTask
from vqvae.tokenizer_stage import TokenizerTask

TASKS: dict[str, type[TrainingTask]] = {"tokenizer": TokenizerTask, "prior": PriorTask}
# Dropout is the one thing that a process draws for itself. Many codes are restarted, from faces of both processes.
SAME = {"tokenizer": ["tokenizer.restart_after=0.5"], "prior": ["prior.dropout=0"]}


def train(tiny_runs: Any, stage: str, name: str, *more: str) -> Callable[[int], int]:
    return lambda _rank: tiny_runs.train(name, stage, *SAME[stage], *more)


@pytest.mark.parametrize("stage", ["tokenizer", "prior"])
def test_two_processes_make_the_steps_of_one(tiny_runs: Any, forked: Callable[..., Any], stage: str) -> None:
    worlds: list[int] = []
    for count in (1, 2):
        worlds.append(forked(train(tiny_runs, stage, f"of {count}"), count).ends(*[0] * count).count("2 processes"))
    # A launcher that silently started two trainings of one process each would pass everything else.
    assert worlds == [0, 1]
    one, two = tiny_runs.tensors("of 1", stage), tiny_runs.tensors("of 2", stage)
    for name in (name for name in one if name.startswith((f"{stage}/", "discriminator/", "ema"))):
        torch.testing.assert_close(two[name], one[name], rtol=2e-3, atol=2e-3, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize(("quantizer", "accumulate"), [("ema", 1), ("ema", 2), ("plain", 1), ("simvq", 1)])
def test_codebooks_are_identical_on_all_processes_after_every_step(
    tiny_runs: Any, forked: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, quantizer: str, accumulate: int
) -> None:
    original = TokenizerTask.train_step

    def checked(self: TokenizerTask, step: int, progress: float) -> dict[str, Tensor]:
        losses = original(self, step, progress)
        assert dist.get_world_size() == 2
        for name, tensor in self.modules["tokenizer"].state_dict().items():
            gathered = [torch.empty_like(tensor) for _ in range(2)]
            dist.all_gather(gathered, tensor.contiguous())
            assert torch.equal(*gathered), f"step {step}: {name} differs"
        return losses

    monkeypatch.setattr(TokenizerTask, "train_step", checked)
    settings = [f"tokenizer.quantizer={quantizer}", f"tokenizer_stage.accumulate={accumulate}", "tokenizer_stage.epochs=1"]
    forked(train(tiny_runs, "tokenizer", "run", *settings), 2).ends(0, 0)


def test_a_run_of_one_process_goes_on_in_two_with_the_same_faces(tiny_runs: Any, forked: Callable[..., Any]) -> None:
    forked(train(tiny_runs, "prior", "run", "prior_stage.epochs=1")).ends(0)
    newest = tiny_runs.folder / "run" / "prior" / "checkpoints" / "step-00000006"
    said = forked(train(tiny_runs, "prior", "more", "--resume", str(newest)), 2).ends(0, 0)
    assert "2 process(es) now, 1 before" in said


def test_the_problem_of_one_process_ends_all_with_one_line(
    tiny_runs: Any, forked: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    original = PriorTask.train_step

    def broken(self: PriorTask, step: int, progress: float) -> dict[str, Tensor]:
        losses = original(self, step, progress)
        return {**losses, "loss": losses["loss"] / (0.0 if step == 3 and dist.get_rank() == 1 else 1.0)}

    monkeypatch.setattr(PriorTask, "train_step", broken)
    forked(tiny_runs.program("run", "prior"), 2).ends_with_one_line("error: prior: loss is not finite (inf) in step 4")
    assert max(checkpoint_steps(tiny_runs.folder / "run" / "prior")) == 2


@pytest.mark.parametrize("place", ["tokens", "checkpoint", "weights", "picture"])
def test_a_full_disk_ends_all_with_one_line_and_what_was_good_is_gone_on_from(
    tiny_runs: Any, forked: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    forked(train(tiny_runs, "prior", "whole"), 2).ends(0, 0)

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def full_for(module: ModuleType, name: str, part: str) -> None:
        original = getattr(module, name)
        patch.setattr(module, name, lambda path, *more: full() if part in str(path) else original(path, *more))

    with monkeypatch.context() as patch:
        if place == "tokens":
            patch.setattr(os, "posix_fallocate", full)
        elif place == "checkpoint":
            full_for(engine.storage.checkpoint, "write_synced", ".tmp-6-")
        elif place == "weights":
            full_for(os, "replace", "weights/prior/.model")
        else:
            full_for(os, "replace", ".generated.png")
        run = forked(tiny_runs.program("broken", "prior", *SAME["prior"]), 2)
        run.ends_with_one_line("the disk is full; free some space")
    kept = {"tokens": [], "checkpoint": [2, 4], "weights": [10, 12], "picture": [10, 12]}[place]
    assert sorted(checkpoint_steps(tiny_runs.folder / "broken" / "prior")) == kept
    forked(train(tiny_runs, "prior", "broken", "--resume", "latest"), 2).ends(0, 0)
    assert tiny_runs.differing("whole", "broken", "prior") == []


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ([], "already holds a run: continue it with --resume latest"),
        (["tokenizer_stage.batch_size=9"], "batch_size: 9 cannot be shared by 2 process(es)"),
    ],
    ids=["a folder that holds a run", "a batch that two processes cannot share"],
)
def test_what_cannot_start_ends_all_with_one_line(
    tiny_runs: Any, forked: Callable[..., Any], settings: list[str], line: str
) -> None:
    if not settings:
        forked(train(tiny_runs, "tokenizer", "run", "tokenizer_stage.epochs=0.4")).ends(0)
    forked(tiny_runs.program("run", "tokenizer", *settings), 2).ends_with_one_line(line)


@pytest.mark.parametrize(("step", "workers", "code"), [(3, 0, 2), (3, 2, 2), (12, 0, 0)])
def test_a_batch_that_one_process_cannot_read_ends_all_unless_it_lies_beyond_the_end(
    tiny_runs: Any, forked: Callable[..., Any], before_each: Callable[..., None], step: int, workers: int, code: int
) -> None:
    def damaged(_self: FaceBatches, asked: int) -> None:
        if asked == step and os.environ["RANK"] == "1":
            raise UserError("shard 7: the picture at 512 is damaged")

    before_each(FaceBatches, "__call__", damaged)
    said = forked(tiny_runs.program("run", "tokenizer", f"faces.workers={workers}"), 2).ends(code, code)
    assert said.count("error: shard 7: the picture at 512 is damaged") == (1 if code else 0)
    assert "Traceback" not in said
    assert max(checkpoint_steps(tiny_runs.folder / "run" / "tokenizer")) == (2 if code else 12)


def test_processes_that_do_not_find_each_other_are_refused(forked: Callable[..., Any]) -> None:
    def alone(_rank: int) -> None:
        os.environ["WORLD_SIZE"] = "2"
        from accelerate import PartialState

        PartialState()
        with pytest.raises(UserError, match="2 processes were launched, but this one sees 1"):
            make_accelerator("auto")

    forked(alone).ends(0)


@pytest.mark.parametrize("stage", ["tokenizer", "prior"])
def test_a_set_that_is_no_multiple_of_the_batch_or_shorter_than_one_does_not_hang(
    tiny_runs: Any, forked: Callable[..., Any], stage: str
) -> None:
    # 52 faces: 6 batches of 8 and a rest of 4 that no process gets; or less than one batch of 64.
    for size in (8, 64):
        batch = f"{stage}_stage.batch_size={size}"
        forked(train(tiny_runs, stage, f"by {size}", batch, f"{stage}_stage.evaluate_every=1"), 2).ends(0, 0, seconds=60)
    assert all(tensor.isfinite().all() for tensor in tiny_runs.tensors("by 64", stage).values())


@pytest.mark.slow
def test_torchrun_starts_one_training_of_two_processes(tmp_path: Path) -> None:
    settings = ["faces.drawn_count=64", "tokenizer_stage.max_minutes=null", "tokenizer_stage.epochs=2", "device=cpu"]
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "vqvae/train.py"]
    done = subprocess.run(
        [sys.executable, *command, *settings, "--stage", "tokenizer", "--out", str(tmp_path / "run")],
        cwd=Path(__file__).resolve().parents[3],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("64 training and 64 validation faces, 2 processes") == 1
    assert (tmp_path / "run" / "weights" / "tokenizer" / "model.safetensors").is_file()
