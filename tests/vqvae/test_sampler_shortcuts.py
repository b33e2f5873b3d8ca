"""What the sampler leaves out changes nothing: held against the method in its plainest form."""

from __future__ import annotations

import pytest
import torch

from vqvae import sampler
from vqvae.config import PriorConfig
from vqvae.prior import MaskedPrior, PriorShape
from vqvae.sampler import gumbel_noise, halton_order, sample_tokens, unmask_counts

SHAPE = PriorShape(prior=PriorConfig(width=16, depth=1, heads=2, dropout=0.0), positions=16, groups=2, codebook_size=8)


def plain_sample(prior: MaskedPrior, emotion: torch.Tensor, seeds: list[int], steps: int, guidance: float) -> torch.Tensor:
    """Every state of every face, both networks' worth, each step anew."""
    noise = gumbel_noise(seeds, SHAPE.positions, SHAPE.groups, SHAPE.codebook_size)
    order, filled = torch.tensor(halton_order(4)), 0
    tokens = torch.zeros(len(seeds), 16, 2, dtype=torch.int64)
    hidden = torch.ones(len(seeds), 16, dtype=torch.bool)
    source = torch.zeros(len(seeds), dtype=torch.int64)
    for number in unmask_counts(16, steps):
        chosen, weight = order[filled : filled + number], guidance * filled / 16
        told = prior.trunk(tokens, hidden, emotion, source)[:, chosen]
        blind = prior.trunk(tokens, hidden, torch.zeros_like(emotion), source)[:, chosen]
        first = None
        for group in range(2):
            with_label, without = prior.head(told, group, first), prior.head(blind, group, first)
            first = (with_label + weight * (with_label - without) + noise[:, chosen, group]).argmax(dim=-1)
            tokens[:, chosen, group] = first
        hidden[:, chosen] = False
        filled += number
    return tokens


@pytest.mark.parametrize("guidance", [0.0, 4.0])
@pytest.mark.parametrize("at_once", [16, 48, 4096])
def test_shortcuts_change_nothing(monkeypatch: pytest.MonkeyPatch, guidance: float, at_once: int) -> None:
    monkeypatch.setattr(sampler, "POSITIONS_AT_ONCE", at_once)
    torch.manual_seed(1)
    prior = MaskedPrior(SHAPE).eval().requires_grad_(False)
    for parameter in prior.parameters():
        parameter.add_(0.3 * torch.randn_like(parameter))
    # Faces asked for alike, and one that is not.
    emotion = torch.eye(7)[[0, 3, 0, 3, 5]]
    seeds = [1, 2, 3, 4, 5]
    tokens = sample_tokens(prior, emotion, torch.zeros(5, dtype=torch.int64), seeds, steps=5, guidance=guidance)
    assert torch.equal(tokens, plain_sample(prior, emotion, seeds, 5, guidance))


def test_states_of_some_positions_are_those_of_all() -> None:
    torch.manual_seed(0)
    prior = MaskedPrior(SHAPE).eval()
    tokens, hidden = torch.randint(8, (3, 16, 2)), torch.rand(3, 16) < 0.5
    rest = (tokens, hidden, torch.eye(7)[:3], torch.zeros(3, dtype=torch.int64))
    wanted = torch.tensor([7, 0, 12])
    torch.testing.assert_close(prior.trunk(*rest, wanted), prior.trunk(*rest)[:, wanted])
