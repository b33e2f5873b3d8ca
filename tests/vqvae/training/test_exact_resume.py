"""N steps are the same to the last bit as k steps, an end of any kind, and a resumed run, however the data are made."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from accelerate import Accelerator
from torch import Tensor

import vqvae.tokens.batches as token_batches
from engine.devices import make_accelerator
from engine.storage.checkpoint import checkpoint_steps
from engine.training.batches import GlobalBatches
from engine.training.task import TrainingTask
from vqvae.faces import FaceBatches
from vqvae.prior_stage import PriorTask
from vqvae.tokenizer_stage import TokenizerTask
from vqvae.tokens.batches import TokenBatches, sampling_weights
from vqvae.tokens.cache import Write, cached
from vqvae.tokens.store import TokenStore

TASKS: dict[str, type[TrainingTask]] = {"tokenizer": TokenizerTask, "prior": PriorTask}
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")
Unbroken = tuple[dict[str, Tensor], list[dict[str, Any]]]


@pytest.fixture(scope="module")
def unbroken() -> dict[tuple[str, int, int], Unbroken]:
    """Runs that nothing disturbed, by stage, processes and parts of a batch; from memory, without workers."""
    return {}


def settings(stage: str, accumulate: int) -> list[str]:
    # 8 steps of which 6 are the first epoch; the discriminator takes part from the fourth on, codes are restarted.
    restarts = ["tokenizer.restart_after=0.5"] if stage == "tokenizer" else []
    return [*restarts, f"{stage}_stage.accumulate={accumulate}", f"{stage}_stage.epochs=1.4"]


def logged(run: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl without what a clock says."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name not in ("time", "images_per_second")} for row in rows]


def end_in(monkeypatch: pytest.MonkeyPatch, stage: str, step: int, part: int, end: Callable[[], None]) -> None:
    """Call ``end`` before the gradients of a part of a batch are computed; both count from 0."""
    train_step, backward, place = TASKS[stage].train_step, Accelerator.backward, [-1, 0]

    def counted_step(self: TrainingTask, step: int, progress: float) -> dict[str, Tensor]:
        place[:] = [step, 0]
        return train_step(self, step, progress)

    def counted_backward(self: Accelerator, loss: Tensor, **options: Any) -> None:
        if place == [step, part]:
            end()
        place[1] += 1
        backward(self, loss, **options)

    monkeypatch.setattr(TASKS[stage], "train_step", counted_step)
    monkeypatch.setattr(Accelerator, "backward", counted_backward)


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def terminate_one() -> None:
    if not dist.is_initialized() or dist.get_rank() == 1:
        os.kill(os.getpid(), signal.SIGTERM)


def interrupt_all() -> None:
    """As a terminal does, which sends Ctrl-C to the workers as well."""
    os.killpg(0, signal.SIGINT)


# Every pair of values of any two columns is there for each stage. 4: in the middle of an epoch, 6: at its end. A batch in two
# parts is broken off between them.
@pytest.mark.parametrize(
    ("stage", "processes", "workers", "accumulate", "source", "from_step", "end"),
    [
        ("tokenizer", 1, 0, 1, "memory", 4, "SIGKILL"),
        ("tokenizer", 2, 2, 1, "shards", 4, "stop"),
        ("tokenizer", 2, 0, 1, "memory", 6, "stop"),
        ("tokenizer", 2, 0, 2, "shards", 4, "SIGKILL"),
        ("tokenizer", 1, 2, 2, "memory", 6, "stop"),
        ("tokenizer", 1, 2, 2, "shards", 6, "SIGKILL"),
        ("prior", 2, 2, 2, "shards", 6, "stop"),
        ("prior", 1, 0, 2, "memory", 6, "SIGKILL"),
        ("prior", 1, 2, 2, "shards", 4, "SIGKILL"),
        ("prior", 1, 2, 1, "memory", 4, "stop"),
        ("prior", 2, 0, 1, "shards", 6, "SIGKILL"),
        ("prior", 2, 0, 1, "memory", 4, "stop"),
    ],
)
def test_broken_off_and_resumed_equals_unbroken(
    tiny_runs: Any,
    shards: list[str],
    forked: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    unbroken: dict[tuple[str, int, int], Unbroken],
    stage: str,
    processes: int,
    workers: int,
    accumulate: int,
    source: str,
    from_step: int,
    end: str,
) -> None:
    same = settings(stage, accumulate)
    key = (stage, processes, accumulate)
    if key not in unbroken:
        forked(lambda _rank: tiny_runs.train("whole", stage, *same), processes).ends(*[0] * processes)
        unbroken[key] = tiny_runs.tensors("whole", stage), logged(tiny_runs.folder / "whole" / stage)
    more = [*same, f"faces.workers={workers}", *(shards if source == "shards" else [])]

    def broken(_rank: int) -> int:
        os.setpgrp()
        return tiny_runs.train("broken", stage, *more)

    with monkeypatch.context() as patch:
        # A killed run goes back to the last checkpoint, of every other step; one that is asked to stop finishes its step.
        step = from_step + 1 if end == "SIGKILL" else from_step - 1
        stop = terminate_one if processes == 2 else interrupt_all
        end_in(patch, stage, step, accumulate - 1, kill if end == "SIGKILL" else stop)
        run = forked(broken, processes)
        codes = run.wait()
    if end == "SIGKILL":
        # Where one process is gone, what another says of it depends on where it was.
        assert -signal.SIGKILL in codes, run.output()
        assert 0 not in codes
    else:
        assert codes == [143] * processes if processes == 2 else [130], run.output()
    assert max(checkpoint_steps(tiny_runs.folder / "broken" / stage)) == from_step
    run = forked(lambda _rank: tiny_runs.train("broken", stage, *more, "--resume", "latest"), processes)
    assert f"at step {from_step}" in run.ends(*[0] * processes)
    tensors, figures = unbroken[key]
    found = tiny_runs.tensors("broken", stage)
    assert found.keys() == tensors.keys()
    assert [name for name in tensors if not torch.equal(found[name], tensors[name])] == []
    assert logged(tiny_runs.folder / "broken" / stage) == figures
    assert [row["step"] for row in figures if "loss" in row] == list(range(1, 9))


@pytest.mark.parametrize(("stage", "maker"), [("tokenizer", FaceBatches), ("prior", TokenBatches)])
def test_workers_make_the_batches(
    tiny_runs: Any, forked: Callable[..., Any], before_each: Callable[..., None], stage: str, maker: type
) -> None:
    makers = tiny_runs.folder / "makers"

    def noted(_self: Any, _step: int) -> None:
        with makers.open("a") as file:
            file.write(f"{os.getpid()}\n")

    before_each(maker, "__call__", noted)
    run = forked(lambda _rank: tiny_runs.train("run", stage, "faces.workers=2", f"{stage}_stage.epochs=1"))
    (trainer,) = (member.pid for member in run.members)
    run.ends(0)
    assert len({*makers.read_text().split()} - {str(trainer)}) == len({*makers.read_text().split()}) == 2


def test_what_workers_are_sent_does_not_hold_the_tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from multiprocessing.reduction import ForkingPickler

    rng, count = np.random.default_rng(0), 3000
    monkeypatch.setattr(token_batches, "_MOST_WEIGHTS", 100)

    def fill(_first: int, _last: int, write: Write) -> None:
        write("tokens", 0, rng.integers(0, 512, 2 * count * 16 * 2))
        write("labels", 0, np.eye(7)[np.arange(count) % 7])
        write("sources", 0, np.arange(count) % 3)

    shapes = {"tokens": ("int16", (2, count, 16, 2)), "labels": ("float32", (count, 7)), "sources": ("int8", (count,))}
    folder = tmp_path / "tokens"
    store = TokenStore(**cached(folder, {}, shapes, count, fill, make_accelerator("cpu")), folder=folder)
    batches = GlobalBatches(count, 8, seed=1, weights=sampling_weights(store, 0.5))
    make = TokenBatches(store, batches, seed=1, label_dropout=0.1)
    sent = ForkingPickler.dumps(make)
    assert len(sent) < 5000 < store.labels.nbytes < store.tokens.nbytes
    for here, there in zip(make(5), ForkingPickler.loads(sent)(5), strict=True):
        np.testing.assert_array_equal(here, there)


def test_a_damaged_newest_checkpoint_is_named_and_the_one_before_is_as_good(
    tiny_runs: Any, forked: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    forked(lambda _rank: tiny_runs.train("whole", "prior"), 2).ends(0, 0)
    with monkeypatch.context() as patch:
        end_in(patch, "prior", 6, 0, terminate_one)
        forked(lambda _rank: tiny_runs.train("broken", "prior"), 2).ends(143, 143)
    damaged = checkpoint_steps(tiny_runs.folder / "broken" / "prior")[7] / "prior.safetensors"
    data = damaged.read_bytes()
    damaged.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    output = forked(lambda _rank: tiny_runs.train("broken", "prior", "--resume", "latest"), 2).ends(0, 0)
    said = [line for line in output.splitlines() if "checkpoint" in line]
    assert len(said) == 2, said
    assert f"skipping checkpoint {damaged}: SHA-256 differs" in said[0]
    assert "step-00000006 at step 6" in said[1]
    assert tiny_runs.differing("whole", "broken", "prior") == []
