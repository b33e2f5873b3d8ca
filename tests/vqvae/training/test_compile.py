"""Compiled networks train to the same weights, in checkpoints that do not know of it."""

from __future__ import annotations

from typing import Any

import pytest
import torch


@pytest.mark.parametrize("stage", ["tokenizer", "prior"])
def test_compiled_parts_make_the_same_steps(tiny_runs: Any, monkeypatch: pytest.MonkeyPatch, stage: str) -> None:
    short = [f"{stage}_stage.epochs=0.7", "prior.dropout=0"]
    assert tiny_runs.train("plain", stage, *short) == 0
    compiled: list[str] = []
    original = torch.nn.Module.compile

    def counted(self: torch.nn.Module, backend: str) -> None:
        compiled.append(type(self).__name__)
        original(self, backend=backend)

    monkeypatch.setattr(torch.nn.Module, "compile", counted)
    # As `accelerate launch --dynamo_backend eager` sets it: traced and cut into graphs, but without a C++ compiler.
    monkeypatch.setenv("ACCELERATE_DYNAMO_BACKEND", "EAGER")
    assert tiny_runs.train("compiled", stage, *short) == 0
    assert compiled == {"tokenizer": ["Sequential"] * 3, "prior": ["_Block"]}[stage]
    plain, other = tiny_runs.tensors("plain", stage), tiny_runs.tensors("compiled", stage)
    assert plain.keys() == other.keys()
    for name, tensor in plain.items():
        torch.testing.assert_close(other[name], tensor, rtol=1e-4, atol=1e-5)
    # What a compiled run saved, a plain one resumes, and the other way round.
    monkeypatch.delenv("ACCELERATE_DYNAMO_BACKEND")
    newest = tiny_runs.folder / "compiled" / stage / "checkpoints" / "step-00000004"
    assert tiny_runs.train("again", stage, *short, "--resume", str(newest)) == 0
