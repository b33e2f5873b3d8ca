"""A decoder learns to paint what the prior draws; tokens, prior and the tokenizer that it was stay."""

from __future__ import annotations

import copy
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import vqvae.colour.stage as painting_stage
from configs.cli import UserError
from vqvae.colour.repaint import FORMER, RepaintingTask
from vqvae.colour.ycbcr import chroma
from vqvae.tokenizer import Tokenizer
from vqvae.tokens.redrawn import hidden_positions

DECODER = [
    *("tokenizer_stage.epochs=0.4", "prior_stage.epochs=0.2", "prior_stage.sampling.steps=3"),
    *("decoder_stage.epochs=0.6", "decoder_stage.batch_size=8", "decoder_stage.redrawn=64", "decoder_stage.checkpoint_every=2"),
]


@pytest.fixture
def settings(painting: list[str]) -> list[str]:
    return [*painting, *DECODER]


def test_the_decoder_changes_and_the_tokens_stay(tiny_runs: Any, settings: list[str], before_each: Callable[..., None]) -> None:
    assert tiny_runs.train("run", "both", *settings) == 0
    painted: list[int] = []
    before_each(Tokenizer, "_paint", lambda _self, quantised: painted.append(len(quantised)))
    assert tiny_runs.train("run", "decoder", *settings) == 0
    # Four grey faces, four photographs, four drawn ones.
    assert painted[0] == 12
    weights = tiny_runs.folder / "run" / "weights"
    old, new = (Tokenizer.from_pretrained(weights / name) for name in (FORMER, "tokenizer"))
    assert old.encoding_sha256() == new.encoding_sha256()
    redrawn = np.load(tiny_runs.folder / "run" / "cache" / "redrawn" / "tokens.npy")
    assert redrawn.shape[0] == 64
    tokens = torch.from_numpy(redrawn[:1].astype(np.int64))
    assert not torch.equal(old.decode(tokens), new.decode(tokens))
    # Complete: once more changes nothing.
    assert tiny_runs.train("run", "decoder", *settings, "--resume", "latest") == 0
    assert Tokenizer.from_pretrained(weights / "tokenizer").decode(tokens).equal(new.decode(tokens))


BRIGHTNESS = [
    *("decoder_stage.loss.discriminator=brightness", "decoder_stage.loss.adversarial=0.6", "decoder_stage.loss.net=4"),
    *("decoder_stage.loss.chroma=0", "decoder_stage.loss.former_colour=3", "decoder_stage.loss.adversarial_start=0.1"),
    "decoder_stage.log_every=1",
]


NO_FEATURES = ["decoder_stage.loss.emotion=0", "decoder_stage.loss.perceptual=0"]


@pytest.fixture
def sees_brightness(settings: list[str], small_encoder: Any, tmp_path: Path) -> list[str]:
    small_encoder(16).save_pretrained(tmp_path / "small")
    return [*settings, *BRIGHTNESS, f"encoder={tmp_path / 'small'}"]


@pytest.mark.parametrize(("of", "steps"), [("settings", 3), ("sees_brightness", 4)])
def test_broken_off_and_resumed_equals_unbroken(
    of: str, steps: int, request: pytest.FixtureRequest, tiny_runs: Any, signal_in_step: Any
) -> None:
    chosen = request.getfixturevalue(of)
    for run in ("whole", "broken"):
        assert tiny_runs.train(run, "both", *chosen) == 0
    assert tiny_runs.train("whole", "decoder", *chosen) == 0
    with signal_in_step(RepaintingTask, steps, signal.SIGINT):
        assert tiny_runs.train("broken", "decoder", *chosen) == 130
    assert tiny_runs.train("broken", "decoder", *chosen, "--resume", "latest") == 0
    assert tiny_runs.differing("whole", "broken", "decoder") == []


def test_the_colour_stays_near_what_was_painted_before(tiny_runs: Any, sees_brightness: list[str]) -> None:
    assert tiny_runs.train("run", "both", *sees_brightness) == 0
    weights = tiny_runs.folder / "run" / "weights"

    def colour_moved(weight: float) -> float:
        torch.manual_seed(0)
        out = weights.parent.parent / f"weight{weight:g}"
        shutil.copytree(weights, out / "weights")
        assert tiny_runs.train(out.name, "decoder", *sees_brightness, f"decoder_stage.loss.former_colour={weight}") == 0
        assert {"net", "discriminator"} <= set(tiny_runs.figures(out.name, "decoder")[-1])
        old, new = (Tokenizer.from_pretrained(out / "weights" / name) for name in (FORMER, "tokenizer"))
        tokens = torch.randint(
            8, (16, *old.encode(torch.rand(1, 1, 16, 16)).shape[1:]), generator=torch.Generator().manual_seed(0)
        )
        return float((chroma(new.decode(tokens)) - chroma(old.decode(tokens))).abs().mean())

    assert colour_moved(100.0) < colour_moved(0.0)


def test_what_is_kept_lies_between_the_former_and_the_trained_decoder(
    tiny_runs: Any, settings: list[str], before_each: Callable[..., None]
) -> None:
    assert tiny_runs.train("whole", "both", *settings) == 0
    shutil.copytree(tiny_runs.folder / "whole", tiny_runs.folder / "half")
    measured: list[Tokenizer] = []
    before_each(painting_stage, "photograph_figures", lambda tokenizer, *_: measured.append(copy.deepcopy(tokenizer)))
    for run, share in (("whole", 1.0), ("half", 0.5)):
        assert tiny_runs.train(run, "decoder", *settings, f"decoder_stage.share={share}") == 0
    names = {"former": ("half", FORMER), "half": ("half", "tokenizer"), "whole": ("whole", "tokenizer")}
    stored = {name: Tokenizer.from_pretrained(tiny_runs.folder / run / "weights" / part) for name, (run, part) in names.items()}
    assert len({each.encoding_sha256() for each in stored.values()}) == 1
    former, half, whole = (dict(stored[name].named_parameters()) for name in names)
    for name, value in half.items():
        # Stored in half precision.
        torch.testing.assert_close(value, (former[name] + whole[name]) / 2, atol=2e-3, rtol=2e-3)
    assert any(not torch.equal(former[name], value) for name, value in half.items())
    # The training itself is the same, and what was measured is what is kept.
    assert tiny_runs.differing("whole", "half", "decoder") == []
    for name, value in measured[-1].named_parameters():
        torch.testing.assert_close(value, half[name], atol=2e-3, rtol=2e-3)


def test_a_discriminator_of_brightness_without_an_encoder_is_refused(tiny_runs: Any, settings: list[str]) -> None:
    assert tiny_runs.train("run", "both", *settings) == 0
    with pytest.raises(UserError, match=r"loss\.discriminator=brightness: needs the frozen encoder"):
        tiny_runs.train(
            "run", "decoder", *settings, *BRIGHTNESS, "decoder_stage.loss.emotion=0", "decoder_stage.loss.perceptual=0"
        )


def test_a_tokenizer_that_paints_grey_is_refused(tiny_runs: Any) -> None:
    assert tiny_runs.train("run", "both", "tokenizer_stage.epochs=0.2", "prior_stage.epochs=0.2") == 0
    with pytest.raises(UserError, match="a tokenizer that paints photographs"):
        tiny_runs.train("run", "decoder")


def test_the_critic_is_of_the_faces_that_the_new_decoder_paints(tiny_runs: Any, settings: list[str], tmp_path: Path) -> None:
    critic = ["critic_stage.epochs=1", "critic_stage.samples=64", "critic_stage.batch_size=8", "critic_stage.widths=[8, 16]"]
    for stage in ("both", "decoder", "critic"):
        assert tiny_runs.train("run", stage, *settings, *critic) == 0
    cache = tiny_runs.folder / "run" / "cache"
    tokenizer = Tokenizer.from_pretrained(tiny_runs.folder / "run" / "weights" / "tokenizer")
    real = np.load(cache / "critic-train" / "real.npy")[0]
    tokens = torch.from_numpy(np.load(cache / "tokens-train" / "tokens.npy")[0].astype(np.int64))
    painted = (tokenizer.decode(tokens) * 255.0).round().to(torch.uint8).numpy()
    assert np.abs(painted.astype(int) - real.astype(int)).reshape(len(painted), -1).max(axis=1).min() <= 1


def test_at_least_half_of_a_face_is_drawn_anew() -> None:
    shares = [float(hidden_positions(64, np.random.default_rng(seed)).float().mean()) for seed in range(200)]
    assert min(shares) >= 0.5
    assert 0.2 < np.mean(np.array(shares) == 1.0) < 0.5
