"""Both stages on faces that stay in their shards: the same weights as from memory, in memory that stays flat."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vqvae.tokens.batches as token_batches
import vqvae.tokens.store as token_store
from engine.training.task import TrainingTask
from vqvae.faces import TrainingShards
from vqvae.prior_stage import PriorTask
from vqvae.tokenizer_stage import TokenizerTask
from vqvae.tokens.store import TokenStore

TASKS: dict[str, type[TrainingTask]] = {"tokenizer": TokenizerTask, "prior": PriorTask}
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")


@pytest.mark.parametrize(("stage", "workers"), [("tokenizer", 0), ("tokenizer", 2), ("prior", 0), ("prior", 2)])
def test_shards_train_to_the_same_bits_as_memory(tiny_runs: Any, shards: list[str], stage: str, workers: int) -> None:
    assert tiny_runs.train("memory", stage) == 0
    assert tiny_runs.train("shards", stage, *shards, f"faces.workers={workers}") == 0
    assert tiny_runs.differing("memory", "shards", stage) == []


@pytest.mark.parametrize("stage", ["tokenizer", "prior"])
def test_no_more_faces_than_a_batch_or_a_piece_are_ever_in_memory(
    tiny_runs: Any, shards: list[str], monkeypatch: pytest.MonkeyPatch, before_each: Callable[..., None], stage: str
) -> None:
    monkeypatch.setattr(token_store, "_PIECE", 10)
    asked: list[int] = []
    for name in ("images_at", "part"):
        before_each(TrainingShards, name, lambda self, index: asked.append(len(index)) if len(self) == 52 else None)
    assert tiny_runs.train("run", stage, *shards) == 0
    assert max(asked) <= 10
    if stage == "prior":
        assert asked == [10, 10, 10, 10, 10, 2]
        assert tiny_runs.train("memory", stage) == 0
        assert tiny_runs.differing("memory", "run", stage) == []


def test_emotions_of_more_faces_than_weights_are_kept_of_are_drawn_as_often(
    tiny_runs: Any, shards: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = np.eye(7, dtype=np.float32)[np.repeat(np.arange(7), [40, 2, 10, 40, 4, 10, 6])]
    store = TokenStore(np.zeros((2, len(labels), 1, 1), np.int16), labels, np.zeros(len(labels), np.int8))
    kept = token_batches.sampling_weights(store, 0.5)
    monkeypatch.setattr(token_batches, "_MOST_WEIGHTS", 10)
    asked = token_batches.sampling_weights(store, 0.5)
    assert isinstance(kept, np.ndarray)
    assert callable(asked)
    relative = asked(np.arange(len(labels)))
    np.testing.assert_allclose(relative, kept / kept.max())
    assert tiny_runs.train("run", "prior", *shards) == 0


def test_processes_share_the_reading_and_make_the_file_that_one_would(
    tiny_runs: Any,
    shards: list[str],
    forked: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    before_each: Callable[..., None],
) -> None:
    monkeypatch.setattr(token_store, "_PIECE", 7)
    counts = tiny_runs.folder / "counts"

    def counted(_tokenizer: Any, images: np.ndarray) -> None:
        with counts.open("a") as file:
            file.write(f"{len(images)}\n")

    before_each(token_store, "tokenise", counted)
    for processes in (1, 2):
        run = forked(lambda _rank, name=f"of {processes}": tiny_runs.train(name, "prior", *shards), processes)
        run.ends(*[0] * processes)
        # 52 faces to learn from and 24 to judge by, each read once whatever the number of processes.
        assert sum(map(int, counts.read_text().split())) == 76 * processes
    one, two = (tiny_runs.folder / f"of {processes}" / "cache" / "tokens-train" for processes in (1, 2))
    assert {file.name: file.read_bytes() for file in one.iterdir()} == {file.name: file.read_bytes() for file in two.iterdir()}
    assert TokenStore.open(one).tokens.shape == (2, 52, 16, 2)
    assert sorted(path.name for path in one.parent.iterdir() if "tokens" in path.name) == ["tokens-train", "tokens-valid"]


def test_a_problem_of_the_process_that_indexes_ends_all(
    tiny_runs: Any, shards: list[str], forked: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "shards" / "train-bad.tar").write_bytes(b"no tar")
    forked(tiny_runs.program("run", "tokenizer", *shards), 2).ends_with_one_line("train-bad.tar")
