"""Telling real faces from generated ones, on pictures whose difference the test knows."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from encoder.emotions import NUM_EMOTIONS
from eval.measures.told_apart import FEWEST_PAIRS, matched, told_apart


def pictures(rng: np.random.Generator, count: int) -> np.ndarray:
    """(N, 1, 16, 16) smooth noise around a grey."""
    coarse = rng.integers(90, 166, (count, 1, 4, 4), dtype=np.uint8)
    return coarse.repeat(4, axis=2).repeat(4, axis=3)


def test_a_flaw_in_one_place_is_found_in_faces_never_seen(rng: np.random.Generator) -> None:
    real, made = pictures(rng, 160), pictures(rng, 160)
    made[:, :, 4:8, 6:10] = 255
    found = told_apart(real, made, seed=0, epochs=8, rounds=50)
    assert found is not None
    assert found["value"] > 0.95
    assert found["interval"][0] <= found["value"] <= found["interval"][1]
    assert found["faces"] == 160


def test_pictures_of_one_source_cannot_be_told_apart(rng: np.random.Generator) -> None:
    found = told_apart(pictures(rng, 240), pictures(rng, 240), seed=0, epochs=2, rounds=50)
    assert found is not None
    assert abs(found["value"] - 0.5) < 0.25  # 5 standard deviations of an AUC of 120 pairs


def test_the_figure_depends_on_the_seed_alone(rng: np.random.Generator) -> None:
    faces = pictures(rng, 24), pictures(rng, 24)
    before = torch.get_rng_state()
    one = told_apart(*faces, seed=3, epochs=1, rounds=10)
    assert torch.get_rng_state().equal(before)
    torch.rand(1)
    assert told_apart(*faces, seed=3, epochs=1, rounds=10) == one


@pytest.mark.parametrize("channels", [1, 3])
def test_few_pairs(rng: np.random.Generator, channels: int) -> None:
    real, made = (pictures(rng, FEWEST_PAIRS).repeat(channels, axis=1) for _ in range(2))
    assert told_apart(real[1:], made[1:], seed=0, epochs=1, rounds=2) is None
    found = told_apart(real, made, seed=0, epochs=1, rounds=2)
    assert found is not None
    assert found["faces"] == 2 * (FEWEST_PAIRS // 2)


def test_both_of_a_pair_are_read_alike_and_none_comes_twice(rng: np.random.Generator) -> None:
    real, made = rng.integers(0, NUM_EMOTIONS, 90), rng.integers(0, NUM_EMOTIONS - 1, 40)
    one, two = matched(real, made, seed=1)
    assert (real[one] == made[two]).all()
    assert len(set(one)) == len(set(two)) == len(one)
    fewer = np.minimum(np.bincount(real, minlength=NUM_EMOTIONS), np.bincount(made, minlength=NUM_EMOTIONS))
    assert len(one) == fewer.sum()
