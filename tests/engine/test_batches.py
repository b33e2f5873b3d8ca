"""Order of the data and random numbers per face: pure functions of (seed, step) with the right statistics."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.cli import UserError
from engine.training.batches import GlobalBatches, uniforms

SEEDS = st.integers(0, 2**63 - 1)


@given(length=st.integers(1, 300), share=st.integers(1, 16), world=st.integers(1, 5), seed=SEEDS, step=st.integers(0, 999))
def test_ranks_partition_the_global_batch(length: int, share: int, world: int, seed: int, step: int) -> None:
    size = share * world
    whole = GlobalBatches(length, size, seed=seed).whole(step)
    parts = [GlobalBatches(length, size, seed=seed, rank=rank, world=world)(step)[1] for rank in range(world)]
    assert [len(part) for part in parts] == [share] * world
    assert np.array_equal(np.concatenate(parts), whole)
    assert whole.min() >= 0
    assert whole.max() < length


@given(size=st.integers(1, 20), steps=st.integers(1, 20), seed=SEEDS, epoch=st.integers(0, 50))
def test_an_epoch_covers_each_index_exactly_once(size: int, steps: int, seed: int, epoch: int) -> None:
    batches = GlobalBatches(size * steps, size, seed=seed)
    assert batches.steps_per_epoch == steps
    seen = [batches(step) for step in range(epoch * steps, (epoch + 1) * steps)]
    assert {number for number, _ in seen} == {epoch}
    assert sorted(np.concatenate([index for _, index in seen]).tolist()) == list(range(size * steps))


@given(length=st.integers(1, 200), size=st.integers(1, 50), seed=SEEDS, steps=st.lists(st.integers(0, 500), max_size=8))
def test_a_batch_does_not_depend_on_what_was_asked_before(length: int, size: int, seed: int, steps: list[int]) -> None:
    used = GlobalBatches(length, size, seed=seed)
    for step in steps:
        assert np.array_equal(used.whole(step), GlobalBatches(length, size, seed=seed).whole(step))


@given(length=st.integers(2, 200), size=st.integers(1, 50), seed=SEEDS, epoch=st.integers(0, 20))
def test_an_epoch_repeats_no_index_while_the_data_last(length: int, size: int, seed: int, epoch: int) -> None:
    batches = GlobalBatches(length, size, seed=seed)
    first = epoch * batches.steps_per_epoch
    seen = np.concatenate([batches.whole(step) for step in range(first, first + batches.steps_per_epoch)])
    counts = np.bincount(seen, minlength=length)
    if size <= length:
        assert counts.max() == 1
        assert length - counts.sum() < size
    else:  # a short set fills its one batch as evenly as possible
        assert counts.max() - counts.min() <= 1


def test_seeds_and_epochs_shuffle_differently(rng: np.random.Generator) -> None:
    seed = int(rng.integers(2**32))
    batches = GlobalBatches(1000, 1000, seed=seed)
    orders = [batches.whole(0), batches.whole(1), GlobalBatches(1000, 1000, seed=seed + 1).whole(0), np.arange(1000)]
    for i, one in enumerate(orders):
        for other in orders[:i]:
            assert (one == other).sum() < 20


def test_every_index_comes_first_equally_often() -> None:
    batches = GlobalBatches(10, 10, seed=3)
    firsts = np.bincount([batches.whole(step)[0] for step in range(4000)], minlength=10)
    assert np.abs(firsts - 400).max() < 100  # 5 standard deviations


@pytest.mark.parametrize("told", ["by weights", "by a function"])
def test_weighted_draws_follow_the_weights(rng: np.random.Generator, told: str) -> None:
    weights, seed = rng.uniform(0.05, 1.0, 20), int(rng.integers(2**32))
    weights[[0, 7, 19]] *= told == "by a function"
    given = weights if told == "by weights" else lambda index: weights[index]
    batches = GlobalBatches(20, 500, seed=seed, weights=given)
    counts = np.bincount(np.concatenate([batches.whole(step) for step in range(200)]), minlength=20)
    expected = weights / weights.sum() * 100_000
    assert (np.abs(counts - expected) <= 6 * np.sqrt(expected)).all()
    parts = [GlobalBatches(20, 500, seed=seed, rank=rank, world=5, weights=given)(7)[1] for rank in range(5)]
    assert np.array_equal(np.concatenate(parts), batches.whole(7))


@given(seed=SEEDS, step=st.integers(0, 10**6), world=st.integers(1, 4))
def test_weighted_batches_are_as_reproducible_and_shared_as_others(seed: int, step: int, world: int) -> None:
    weights = np.arange(30.0)
    used = GlobalBatches(30, 12, seed=seed, weights=weights)
    used.whole(step // 2)
    parts = [GlobalBatches(30, 12, seed=seed, weights=weights, rank=r, world=world)(step)[1] for r in range(world)]
    assert np.array_equal(np.concatenate(parts), used.whole(step))


@pytest.mark.parametrize(
    ("length", "size", "world", "weights", "message"),
    [
        (0, 4, 1, None, "empty"),
        (10, 6, 4, None, "multiple of 4"),
        (10, 0, 1, None, "batch_size: 0"),
        (3, 1, 1, [1, 2], r"shape \(3,\), got \(2,\)"),
        (3, 1, 1, [1, -2, 0], "item 1 has -2"),
        (3, 1, 1, [1, 2, np.nan], "item 2 has nan"),
        (3, 1, 1, [0, 0, 0], "sum must be positive"),
    ],
)
def test_unusable_settings_are_refused(length: int, size: int, world: int, weights: list | None, message: str) -> None:
    with pytest.raises(UserError, match=message):
        GlobalBatches(length, size, seed=0, world=world, weights=None if weights is None else np.array(weights))


def test_impossible_ranks_and_steps_are_refused() -> None:
    with pytest.raises(ValueError, match="rank 2"):
        GlobalBatches(10, 4, seed=0, rank=2, world=2)
    with pytest.raises(ValueError, match="negative"):
        GlobalBatches(10, 4, seed=0)(-1)


@given(
    seed=SEEDS,
    epoch=st.integers(0, 10**6),
    indices=st.lists(st.integers(0, 10**9), min_size=1, max_size=40),
    count=st.integers(1, 20),
)
def test_uniforms_of_a_face_do_not_depend_on_its_batch(seed: int, epoch: int, indices: list[int], count: int) -> None:
    together = uniforms(seed, epoch, np.array(indices), count)
    assert together.shape == (len(indices), count)
    assert together.dtype == np.float32
    assert (together >= 0).all()
    assert (together < 1).all()
    for row, index in zip(together, indices, strict=True):
        assert np.array_equal(row, uniforms(seed, epoch, np.array([index]), count + 3)[0, :count])


def test_uniforms_are_uniform_and_not_correlated(rng: np.random.Generator) -> None:
    seed = int(rng.integers(2**63))
    count = 20_000
    table = uniforms(seed, 0, np.arange(count), 8).astype(np.float64)
    limit = 5.0 / np.sqrt(count)  # 5 standard errors
    assert np.abs(table.mean(axis=0) - 0.5).max() < limit * 12**-0.5
    assert np.abs(table.var(axis=0) - 1 / 12).max() < limit * 180**-0.5
    tenths = np.histogram(table, bins=10, range=(0, 1))[0] / table.size
    assert np.abs(tenths - 0.1).max() < 5.0 * 0.3 / np.sqrt(table.size)
    centred = (table - 0.5) * 12**0.5
    for name, other in {
        "next index": np.roll(centred, 1, axis=0),
        "next number": np.roll(centred, 1, axis=1),
        "next epoch": (uniforms(seed, 1, np.arange(count), 8) - 0.5) * 12**0.5,
        "next seed": (uniforms(seed + 1, 0, np.arange(count), 8) - 0.5) * 12**0.5,
    }.items():
        assert np.abs((centred * other).mean(axis=0)).max() < limit, name


def test_no_faces_have_no_numbers() -> None:
    assert uniforms(0, 0, np.array([], np.int64), 5).shape == (0, 5)
