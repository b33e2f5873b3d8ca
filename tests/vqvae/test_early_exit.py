"""A weaker prior is read off half-way, fitted last, and led away from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from configs.cli import UserError
from vqvae.config import PriorConfig, PriorStageConfig, VqvaeConfig
from vqvae.early_exit import fit_exit
from vqvae.prior import MaskedPrior, PriorShape
from vqvae.sampler import sample_tokens

SHAPE = PriorShape(prior=PriorConfig(width=16, depth=3, heads=2, dropout=0.1), positions=16, groups=2, codebook_size=8)


@pytest.fixture
def prior() -> MaskedPrior:
    torch.manual_seed(0)
    prior = MaskedPrior(SHAPE).eval()
    prior.with_exit(1, 4)
    return prior


def batch(count: int = 8) -> tuple[torch.Tensor, ...]:
    tokens, hidden = torch.randint(0, 8, (count, 16, 2)), torch.rand(count, 16) < 0.5
    hidden[:, 0] = True
    return (
        tokens,
        hidden,
        torch.eye(7)[torch.arange(count) % 7],
        torch.zeros(count, dtype=torch.int64),
        torch.zeros(count, 0).long(),
    )


def draw(prior: MaskedPrior, seeds: list[int], **options: Any) -> torch.Tensor:
    emotion = torch.eye(7)[:1].expand(len(seeds), -1)
    return sample_tokens(prior, emotion, torch.zeros(len(seeds), dtype=torch.int64), seeds, steps=6, **options)


def test_states_are_the_same_whether_the_exit_is_read_off_or_not(prior: MaskedPrior) -> None:
    tokens, hidden, emotion, source, _ = batch()
    wanted = torch.tensor([3, 7, 8])
    both = prior.trunk(tokens, hidden, emotion, source, wanted, early=True)
    assert both.shape == (2, 8, 3, 16)
    assert torch.equal(both[0], prior.trunk(tokens, hidden, emotion, source, wanted))
    # What leaves early has passed through one block: the others may be anything.
    assert prior.exit is not None
    reached = prior.trunk(tokens, hidden, emotion, source, leave=1)
    assert torch.allclose(both[1], prior.exit(reached[:, wanted]), atol=1e-6)


def test_fitting_lowers_the_loss_of_the_exit_and_changes_nothing_else(prior: MaskedPrior) -> None:
    # Codes of a face are all alike here: what even a small exit can learn.
    tokens, *rest = batch(32)
    part = (torch.full_like(tokens, 3), *rest)
    before = {name: tensor.clone() for name, tensor in prior.state_dict().items()}
    first = fit_exit(prior, iter([part]), 1)
    last = fit_exit(prior, iter([part] * 250), 250, lambda: torch.autocast("cpu", torch.bfloat16))
    reached = prior.trunk(*part[:4], leave=1)[part[1]]
    assert prior.exit is not None
    assert float(prior.code_loss(prior.exit(reached), part[0][part[1]])) < last + 0.05
    assert last < first - 0.3
    changed = {name for name, tensor in prior.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {name for name in before if name.startswith("exit.")}
    assert not prior.training
    assert not any(parameter.requires_grad for parameter in prior.parameters())


def test_autoguidance_leads_away_from_the_exit(prior: MaskedPrior) -> None:
    plain = draw(prior, [1, 2, 3], guidance=1.0, guided=(0.1, 0.9))
    assert torch.equal(plain, draw(prior, [1, 2, 3], guidance=1.0, guided=(0.1, 0.9), autoguidance=0.0))
    led = draw(prior, [1, 2, 3], guidance=1.0, guided=(0.1, 0.9), autoguidance=50.0)
    assert not torch.equal(plain, led)
    # A face depends on its seed alone, and not on who is drawn beside it.
    assert torch.equal(led[2:], draw(prior, [3], guidance=1.0, guided=(0.1, 0.9), autoguidance=50.0))


def test_an_exit_that_knows_as_much_as_the_prior_leads_nowhere(prior: MaskedPrior, monkeypatch: pytest.MonkeyPatch) -> None:
    trunk = prior.trunk

    def twins(*args: Any, early: bool = False, **named: Any) -> torch.Tensor:
        states = trunk(*args, **named)
        return torch.stack([states, states]) if early else states

    plain = draw(prior, [4, 5])
    monkeypatch.setattr(prior, "trunk", twins)
    assert torch.equal(plain, draw(prior, [4, 5], autoguidance=9.0))


def test_an_exit_is_stored_with_its_prior(prior: MaskedPrior, tmp_path: Path) -> None:
    prior.sampling = prior.sampling.model_copy(update={"autoguidance": 1.5})
    prior.save_pretrained(tmp_path / "prior")
    loaded = MaskedPrior.from_pretrained(tmp_path / "prior")
    assert (loaded.shape.exit, loaded.sampling.autoguidance) == (1, 1.5)
    assert torch.equal(draw(loaded, [1], autoguidance=3.0), draw(prior.half().float(), [1], autoguidance=3.0))
    stored = json.loads((tmp_path / "prior" / "config.json").read_text())
    stored.pop("config_sha256")
    stored["model"]["exit"] = 0
    (tmp_path / "prior" / "config.json").write_text(json.dumps(stored))
    with pytest.raises(UserError, match=r"config.json: autoguidance 1.5, and no early exit"):
        MaskedPrior.from_pretrained(tmp_path / "prior")


def test_without_an_exit_autoguidance_is_refused(prior: MaskedPrior) -> None:
    prior.with_exit(0, 0)
    assert prior.exit is None
    with pytest.raises(ValueError, match="early exit"):
        draw(prior, [1], autoguidance=1.0)
    with pytest.raises(ValueError, match="no exit"):
        fit_exit(prior, iter([batch()]), 1)


def test_settings_that_lead_nowhere_are_refused() -> None:
    with pytest.raises(ValidationError, match=r"sampling.autoguidance=2 .* set exit, too"):
        PriorStageConfig.model_validate({"sampling": {"autoguidance": 2}})
    with pytest.raises(ValidationError, match=r"prior_stage.exit=6 must be below prior.depth=6"):
        VqvaeConfig.model_validate({"prior_stage": {"exit": 6}})


def test_a_training_ends_with_an_exit_and_its_prior_can_be_trained_on(tiny_runs: Any, capsys: pytest.CaptureFixture[str]) -> None:
    settings = ["prior.depth=2", "prior_stage.exit=1", "prior_stage.exit_rank=2", "prior_stage.exit_steps=3"]
    assert tiny_runs.train("first", "prior", *settings, "prior_stage.sampling.autoguidance=0.5") == 0
    assert "early exit after 1 of 2 blocks: loss" in capsys.readouterr().err
    trained = MaskedPrior.from_pretrained(tiny_runs.weights("first", "prior").parent)
    assert (trained.shape.exit, trained.shape.exit_rank, trained.sampling.autoguidance) == (1, 2, 0.5)
    start = f"prior_stage.init={tiny_runs.weights('first', 'prior').parent}"
    assert tiny_runs.train("second", "prior", "prior.depth=2", start) == 0
    assert MaskedPrior.from_pretrained(tiny_runs.weights("second", "prior").parent).exit is None
