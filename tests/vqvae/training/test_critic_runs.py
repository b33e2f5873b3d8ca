"""Critics are trained on faces of a prior that is there already, each on faces of its own."""

from __future__ import annotations

import signal
from typing import Any

import numpy as np
import pytest

from configs.cli import UserError
from vqvae.critics.critic import RealismCritic
from vqvae.critics.stage import CRITICS, CriticTask

CRITIC = [
    *(f"critic_stage.{setting}" for setting in ("epochs=2", "batch_size=8", "samples=64", "checkpoint_every=2")),
    *("critic_stage.widths=[8, 16]", "critic_stage.evaluate_every=99", "prior_stage.sampling.steps=3"),
]


def test_two_critics_are_measured_and_share_no_face(tiny_runs: Any) -> None:
    assert tiny_runs.train("run", "both", *CRITIC) == 0
    weights, shapes = tiny_runs.folder / "run" / "weights", []
    for name in CRITICS:
        assert tiny_runs.train("run", name, *CRITIC) == 0
        critic = RealismCritic.from_pretrained(weights / name)
        shapes.append(critic.config.name)
        assert len(critic.scale.real) == 101
        assert set(critic.tokens) == {"tokenizer", "prior"}
    assert shapes == ["strided", "pooled"]
    one, other = (np.load(tiny_runs.folder / "run" / "cache" / f"{name}-train" / "real.npy") for name in CRITICS)
    assert {face.tobytes() for face in one}.isdisjoint({face.tobytes() for face in other})


def test_only_the_critic_that_selects_learns_from_faces_drawn_in_another_way(tiny_runs: Any) -> None:
    made = {}
    for run, refused in (("usual", "null"), ("warm", "{steps: 3, guidance: 0, temperature: 9}")):
        assert tiny_runs.train(run, "both", *CRITIC) == 0
        for name in CRITICS:
            assert tiny_runs.train(run, name, *CRITIC, f"critic_stage.refused={refused}") == 0
            made[run, name] = np.load(tiny_runs.folder / run / "cache" / f"{name}-train" / "made.npy")
    assert not np.array_equal(made["usual", "critic"], made["warm", "critic"])
    assert np.array_equal(made["usual", "critic_judge"], made["warm", "critic_judge"])


def test_a_critic_interrupted_and_resumed_equals_an_unbroken_one(tiny_runs: Any, signal_in_step: Any) -> None:
    for run in ("whole", "broken"):
        assert tiny_runs.train(run, "both", *CRITIC) == 0
    assert tiny_runs.train("whole", "critic", *CRITIC) == 0
    with signal_in_step(CriticTask, 5, signal.SIGINT):
        assert tiny_runs.train("broken", "critic", *CRITIC) == 130
    assert tiny_runs.train("broken", "critic", *CRITIC, "--resume", "latest") == 0
    assert tiny_runs.differing("whole", "broken", "critic") == []


def test_a_critic_without_a_prior_is_refused(tiny_runs: Any) -> None:
    tiny_runs.untrained_tokenizer(tiny_runs.folder / "run" / "weights" / "tokenizer")
    with pytest.raises(UserError, match="decoder and critics need a trained prior there"):
        tiny_runs.train("run", "critic", *CRITIC)
