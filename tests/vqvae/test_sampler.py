"""Unmasking order, schedule, and independence of a face from its batch."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from vqvae.config import PriorConfig
from vqvae.prior import MaskedPrior, PriorShape
from vqvae.sampler import halton_order, sample_tokens, unmask_counts

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


def sample(seeds: list[int], **options: float) -> torch.Tensor:
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
