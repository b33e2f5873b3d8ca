"""Shuffles computed place by place are permutations, and look random."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import engine.training.batches
from engine.counter_random import permute, permute_nearby
from engine.training.batches import GlobalBatches

SEEDS = st.integers(0, 2**63 - 1)


@settings(max_examples=40)
@given(size=st.integers(1, 3000), seed=SEEDS, epoch=st.integers(0, 99))
def test_every_place_is_taken_once(size: int, seed: int, epoch: int) -> None:
    assert np.array_equal(np.sort(permute(np.arange(size), size, seed, epoch)), np.arange(size))


@settings(max_examples=40)
@given(size=st.integers(1, 3000), block=st.integers(1, 70), window=st.integers(1, 9), seed=SEEDS)
def test_every_place_is_taken_once_when_neighbours_stay_near(size: int, block: int, window: int, seed: int) -> None:
    order = permute_nearby(np.arange(size), size, seed, block=block, window=window)
    assert np.array_equal(np.sort(order), np.arange(size))


@given(size=st.integers(2, 10**12), seed=SEEDS, places=st.lists(st.integers(0, 10**12), min_size=1, max_size=20))
def test_a_place_does_not_depend_on_those_asked_beside_it(size: int, seed: int, places: list[int]) -> None:
    asked = np.array(places) % size
    together = permute(asked, size, seed)
    assert together.min() >= 0
    assert together.max() < size
    assert together.tolist() == [int(permute(place, size, seed)) for place in asked]


def test_orders_are_uniform_and_not_alike(rng: np.random.Generator) -> None:
    seed, size = int(rng.integers(2**62)), 5000
    orders = [permute(np.arange(size), size, seed, epoch) for epoch in range(4)]
    orders.append(np.arange(size))
    for number, one in enumerate(orders):
        for other in orders[:number]:
            assert abs(np.corrcoef(one, other)[0, 1]) < 5 / size**0.5
            assert (one == other).sum() < 12
    firsts = np.bincount([int(permute(0, 10, seed, epoch)) for epoch in range(4000)], minlength=10)
    assert np.abs(firsts - 400).max() < 100  # 5 standard deviations


def test_neighbours_come_from_as_many_blocks_as_the_window_holds(rng: np.random.Generator) -> None:
    order = permute_nearby(np.arange(6400), 6400, int(rng.integers(2**62)), block=64, window=4)
    for start in range(0, 6400, 256):
        assert len({*(order[start : start + 256] // 64)}) == 4
    assert len({*(order[:64] // 64)}) == 4  # and within a window all blocks are mixed


@pytest.mark.parametrize("block", [0, 64])
def test_an_order_too_long_to_sort_is_still_a_permutation(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(engine.training.batches, "_LARGEST_SORTED", 100)
    batches = GlobalBatches(1000, 50, seed=3, block=block)
    epochs = [np.concatenate([batches.whole(step) for step in range(20 * epoch, 20 * epoch + 20)]) for epoch in (0, 1)]
    for epoch in epochs:
        assert np.array_equal(np.sort(epoch), np.arange(1000))
    assert (epochs[0] == epochs[1]).sum() < 20


def test_the_order_of_10_to_the_8_items_takes_no_memory() -> None:
    import tracemalloc

    batches = GlobalBatches(10**8, 1024, seed=0)
    tracemalloc.start()
    batches.whole(12345)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20
