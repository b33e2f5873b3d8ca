"""SIGKILL at any moment, in the middle of a write too: the run always goes on, and ends as one that nothing disturbed."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import engine.storage.atomic
import engine.storage.checkpoint

STAGES = ("tokenizer", "prior")


def die_at(call: int) -> None:
    """SIGKILL this process at the ``call``-th write, flush or rename of a checkpoint or another file."""
    seen = [0]

    def failing(original: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*arguments: Any, **options: Any) -> Any:
            seen[0] += 1
            if seen[0] == call:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*arguments, **options)

        return wrapper

    for name in ("fsync", "rename", "replace"):
        setattr(os, name, failing(getattr(os, name)))
    engine.storage.checkpoint.write_synced = failing(engine.storage.checkpoint.write_synced)


def kill_again_and_again(tiny_runs: Any, forked: Callable[..., Any], kills: int, epochs: int, seed: int) -> None:
    """Train both stages under a hail of SIGKILL, anew when a run got through; each must end as the unbroken one did."""
    chance = random.Random(seed)
    settings = [f"{stage}_stage.epochs={epochs}" for stage in STAGES]
    assert forked(lambda _rank: tiny_runs.train("whole", "both", *settings)).wait() == [0]

    def train(name: str, call: int = 0, delay: float | None = None) -> int:
        resume = ["--resume", "latest"] if (tiny_runs.folder / name).is_dir() else []

        def child(_rank: int) -> int:
            if call:
                die_at(call)
            return tiny_runs.train(name, "both", *settings, *resume)

        run = forked(child)
        if delay is not None:
            time.sleep(delay)
            run.members[0].kill()
        (code,) = run.wait()
        assert code in (-signal.SIGKILL, 0), run.output()
        return code

    killed, number = 0, 0
    while killed < kills:
        at_a_write, at_a_time = {"call": chance.randrange(1, 60)}, {"delay": chance.uniform(0.02, 0.6)}
        code = train(str(number), **(at_a_time if killed % 2 else at_a_write))
        killed += code == -signal.SIGKILL
        number += code == 0
    assert train(str(number)) == 0
    for name in map(str, range(number + 1)):
        for stage in STAGES:
            assert tiny_runs.differing("whole", name, stage) == []
            assert tiny_runs.weights("whole", stage).read_bytes() == tiny_runs.weights(name, stage).read_bytes()


@pytest.mark.parametrize(("kills", "epochs"), [(8, 2), pytest.param(30, 6, marks=pytest.mark.slow)])
def test_kills_at_random_moments(
    tiny_runs: Any, forked: Callable[..., Any], rng: np.random.Generator, kills: int, epochs: int
) -> None:
    kill_again_and_again(tiny_runs, forked, kills, epochs, int(rng.integers(2**31)))


@pytest.mark.parametrize("stage", ["tokenizer", "prior"])
def test_killed_between_the_two_files_of_its_weights_a_stage_is_not_taken_for_complete(
    tiny_runs: Any, forked: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, before_each: Callable[..., None], stage: str
) -> None:
    def killed(path: str | Path) -> None:
        if f"weights/{stage}/config.json" in str(path):
            os.kill(os.getpid(), signal.SIGKILL)

    assert forked(lambda _rank: tiny_runs.train("whole", stage)).wait() == [0]
    with monkeypatch.context() as patch:
        before_each(engine.storage.atomic, "draft", killed, patch)
        assert forked(lambda _rank: tiny_runs.train("broken", stage)).wait() == [-signal.SIGKILL]
    weights = tiny_runs.weights("broken", stage).parent
    assert [path.name for path in weights.iterdir() if not path.name.startswith(".")] == ["model.safetensors"]
    assert forked(lambda _rank: tiny_runs.train("broken", stage, "--resume", "latest")).wait() == [0]
    assert (weights / "config.json").is_file()
    assert tiny_runs.differing("whole", "broken", stage) == []
