"""Unmasking order, schedule, independence of a face from its batch; shortcuts are held against the plainest form."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vqvae import sampler
from vqvae.attributes import NOT_TOLD
from vqvae.config import PriorConfig
from vqvae.prior import MaskedPrior, PriorShape
from vqvae.sampler import Rerank, gumbel_noise, halton_order, sample_tokens, unmask_counts

SHAPE = PriorShape(prior=PriorConfig(width=16, depth=1, heads=2, dropout=0.0), positions=16, groups=2, codebook_size=8)


@given(grid=st.integers(1, 12))
def test_the_order_visits_every_position_once(grid: int) -> None:
    assert sorted(halton_order(grid)) == list(range(grid * grid))


@given(positions=st.integers(1, 300), steps=st.integers(1, 400))
def test_every_step_fills_something_and_all_is_filled(positions: int, steps: int) -> None:
    counts = unmask_counts(positions, steps)
    assert sum(counts) == positions
    assert min(counts) >= 1
    assert len(counts) == min(steps, positions)


def sample(seeds: list[int], **options: object) -> torch.Tensor:
    torch.manual_seed(0)
    prior = MaskedPrior(SHAPE).eval()
    emotion = torch.eye(7)[:1].expand(len(seeds), -1)
    return sample_tokens(prior, emotion, torch.zeros(len(seeds), dtype=torch.int64), seeds, steps=6, **options)  # type: ignore[arg-type]


def test_a_face_depends_on_its_seed_alone() -> None:
    together = sample([5, 6, 7, 8])
    assert torch.equal(together[2], sample([7])[0])
    assert not torch.equal(together[0], together[1])


def test_without_temperature_seeds_do_not_matter() -> None:
    rows = sample([1, 2], temperature=0.0)
    assert torch.equal(rows[0], rows[1])


def test_guidance_changes_the_outcome() -> None:
    assert not torch.equal(sample([1, 2, 3], guidance=0.0), sample([1, 2, 3], guidance=500.0))


def test_only_hidden_positions_are_made_anew() -> None:
    known = torch.randint(8, (3, 16, 2))
    hidden = torch.zeros(16, dtype=torch.bool)
    hidden[5:9] = True
    made = sample([1, 2, 3], known=known, hidden=hidden)
    assert torch.equal(made[:, ~hidden], known[:, ~hidden])
    assert not torch.equal(made[:, hidden], known[:, hidden])
    nothing = sample([1, 2, 3], known=known, hidden=torch.zeros(16, dtype=torch.bool))
    assert torch.equal(nothing, known)


@pytest.mark.parametrize("given", [{"known": torch.ones(1, 16, 2, dtype=torch.int64)}, {"hidden": torch.arange(16) < 5}])
def test_known_tokens_and_hidden_positions_go_together(given: dict[str, torch.Tensor]) -> None:
    with pytest.raises(ValueError, match="known and hidden go together"):
        sample([1], **given)


def test_an_emotion_to_avoid_changes_the_outcome_only_under_guidance() -> None:
    avoid = torch.eye(7)[4:5].expand(3, -1)
    assert torch.equal(sample([1, 2, 3], guidance=0.0), sample([1, 2, 3], guidance=0.0, avoid=avoid))
    assert not torch.equal(sample([1, 2, 3], guidance=50.0), sample([1, 2, 3], guidance=50.0, avoid=avoid))


def count_ones(tokens: torch.Tensor) -> torch.Tensor:
    return (tokens == 1).sum(dim=(-1, -2)).float()


def test_reranking_moves_faces_towards_the_score() -> None:
    seeds = list(range(12))
    plain = count_ones(sample(seeds)).mean()
    assert count_ones(sample(seeds, rerank=Rerank(lambda t: 100 * count_ones(t), 8, start=0.0))).mean() > plain + 1
    weak = sample(seeds, rerank=Rerank(lambda t: 100 * count_ones(t), 8, start=1.0))
    assert torch.equal(weak, sample(seeds))


def test_a_reranked_face_depends_on_its_seed_alone() -> None:
    rerank = Rerank(lambda t: 2 * count_ones(t), 3, start=0.2)
    assert torch.equal(sample([5, 6, 7], rerank=rerank)[2], sample([7], rerank=rerank)[0])


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
            picked = (with_label + weight * (with_label - without) + noise[:, chosen, group]).argmax(dim=-1)
            tokens[:, chosen, group] = picked
            first = picked.unsqueeze(-1)
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


def test_attributes_are_told_and_faces_asked_for_alike_are_still_computed_once() -> None:
    torch.manual_seed(2)
    shape = SHAPE.model_copy(update={"prior": SHAPE.prior.model_copy(update={"attributes": ("eyes", "gender")})})
    prior = MaskedPrior(shape).eval().requires_grad_(False)
    for parameter in prior.parameters():
        parameter.add_(0.3 * torch.randn_like(parameter))
    emotion, source, seeds = torch.eye(7)[[2] * 4], torch.zeros(4, dtype=torch.int64), [1, 1, 2, 2]
    told = torch.tensor([[0, 1], [0, NOT_TOLD], [0, 1], [1, 1]])
    made = sample_tokens(prior, emotion, source, seeds, steps=4, attributes=told)
    assert not torch.equal(made[0], made[1])
    assert not torch.equal(made[2], made[3])
    for row in range(4):
        one = sample_tokens(prior, emotion[:1], source[:1], seeds[row : row + 1], steps=4, attributes=told[row : row + 1])
        assert torch.equal(made[row], one[0])


def test_guidance_in_the_middle_leaves_the_first_and_the_last_steps_alone() -> None:
    guided, free = sample([3], guided=(0.25, 0.75), guidance=500.0), sample([3], guidance=0.0)
    assert torch.equal(sample([3], guided=(0.0, 0.0), guidance=500.0), free)
    # Of six steps the third to the fifth are guided.
    first = torch.tensor(halton_order(4))[: sum(unmask_counts(16, 6)[:2])]
    assert torch.equal(guided[0, first], free[0, first])
    assert not torch.equal(guided, free)


def test_details_are_drawn_at_another_temperature_than_the_whole() -> None:
    seeds = [1, 2, 3, 4]
    warm, cold = sample(seeds, temperature=5.0), sample(seeds, temperature=5.0, cooled=0.0)
    first = list(halton_order(4))[: unmask_counts(16, 6)[0]]
    assert torch.equal(warm[:, first], cold[:, first])
    assert not torch.equal(warm, cold)
    assert torch.equal(warm, sample(seeds, temperature=5.0, cooled=5.0))
