"""What the client of Weights & Biases itself, offline, keeps of a training of both stages that was stopped and resumed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vqvae.tokenizer_stage import TokenizerTask

FIGURES = {
    "tokenizer": ["loss", "gradient_norm", "commitment", "valid/psnr", "valid/usage", "valid/perplexity"],
    "prior": ["loss", "gradient_norm", "valid/loss", "valid/loss_without_label"],
}
GRIDS = {"tokenizer": "reconstructions", "prior": "generated"}


def test_a_stopped_and_resumed_training_is_one_run_a_stage_with_scalars_and_grids(
    tiny_runs: Any, forked: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, signal_in_step: Any
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    settings = ["wandb=true", *(f"{stage}_stage.{setting}" for stage in GRIDS for setting in ("epochs=1", "evaluate_every=2"))]
    with signal_in_step(TokenizerTask, 3, rank=0):
        forked(lambda _rank: tiny_runs.train("run", "both", *settings), 2).ends(143, 143)
    forked(lambda _rank: tiny_runs.train("run", "both", *settings, "--resume", "latest"), 2).ends(0, 0)
    ids = []
    for stage, parts in (("tokenizer", 2), ("prior", 1)):
        folder = tiny_runs.folder / "run" / stage
        ids.append((folder / "wandb-id.txt").read_text().strip())
        # One of each time that the stage was trained, whatever the number of processes.
        kept = sorted((folder / "wandb").glob("offline-run-*"))
        assert [path.name.rsplit("-", 1)[1] for path in kept] == [ids[-1]] * parts
        for path in kept:
            assert_holds((path / f"run-{ids[-1]}.wandb").read_bytes(), FIGURES[stage])
        images = [image.name.split("_")[:2] for path in kept for image in (path / "files" / "media" / "images").iterdir()]
        assert sorted(images) == [[GRIDS[stage], step] for step in ("2", "4", "6")]
        assert_logged(folder / "metrics.jsonl", FIGURES[stage])
    assert ids[0] != ids[1]


def assert_holds(record: bytes, names: list[str]) -> None:
    # Each block of 32 KiB begins with a header of 7 bytes, which may fall into the middle of a name.
    content = b"".join(record[start + 7 : start + (1 << 15)] for start in range(0, len(record), 1 << 15))
    assert [name for name in names if name.encode() not in content] == []


def assert_logged(path: Path, names: list[str]) -> None:
    """Every step's losses and every evaluation's figures stand there once."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for name in names:
        steps = [row["step"] for row in rows if name in row]
        assert steps == ([2, 4, 6] if name.startswith("valid/") else [1, 2, 3, 4, 5, 6])
