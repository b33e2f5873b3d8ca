"""Data order is a pure function of (seed, step), shared out without loss or repetition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.cli import UserError
from encoder.batches import GlobalBatches, uniforms


@given(length=st.integers(1, 200), share=st.integers(1, 8), world=st.integers(1, 4), step=st.integers(0, 500), seed=st.integers(0, 2**31))
def test_ranks_share_out_the_global_batch(length: int, share: int, world: int, step: int, seed: int) -> None:
    batch = share * world
    parts = [GlobalBatches(length, batch, seed=seed, rank=rank, world=world)(step)[1] for rank in range(world)]
    whole = GlobalBatches(length, batch, seed=seed).whole(step)
    np.testing.assert_array_equal(np.stack(parts, axis=1).reshape(-1), whole)


@given(batches=st.integers(1, 12), batch=st.integers(1, 16), epoch=st.integers(0, 5), seed=st.integers(0, 2**31))
def test_an_epoch_visits_every_item_once(batches: int, batch: int, epoch: int, seed: int) -> None:
    order = GlobalBatches(batches * batch, batch, seed=seed)
    seen = np.concatenate([order.whole(epoch * batches + k) for k in range(batches)])
    assert sorted(seen.tolist()) == list(range(batches * batch))


def test_weights_set_the_frequencies() -> None:
    order = GlobalBatches(3, 100, seed=1, weights=np.array([1.0, 0.0, 3.0]))
    drawn = np.concatenate([order.whole(step) for step in range(100)])
    shares = np.bincount(drawn, minlength=3) / len(drawn)
    np.testing.assert_allclose(shares, [0.25, 0.0, 0.75], atol=0.02)


def test_numbers_of_a_face_do_not_depend_on_the_batch() -> None:
    together = uniforms(3, 2, np.arange(50), 5)
    alone = uniforms(3, 2, np.array([17]), 5)
    np.testing.assert_array_equal(together[17], alone[0])
    assert not np.array_equal(uniforms(3, 3, np.array([17]), 5), alone)


def test_numbers_are_uniform_and_unrelated() -> None:
    table = uniforms(0, 0, np.arange(20_000), 2)
    assert abs(table.mean() - 0.5) < 0.01
    assert abs(table.var() - 1 / 12) < 0.005
    assert abs(np.corrcoef(table[:-1, 0], table[1:, 0])[0, 1]) < 0.03
    assert abs(np.corrcoef(table[:, 0], table[:, 1])[0, 1]) < 0.03


@pytest.mark.parametrize(("length", "batch", "world"), [(0, 4, 1), (10, 3, 2), (10, 0, 1)])
def test_what_cannot_be_shared_is_refused(length: int, batch: int, world: int) -> None:
    with pytest.raises(UserError):
        GlobalBatches(length, batch, seed=0, world=world)
