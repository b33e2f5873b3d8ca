"""Copies of training faces are found; new faces are not accused."""

from __future__ import annotations

import numpy as np
import pytest

from eval.measures.memorisation import compare_nearest, nearest


def test_the_nearest_is_found_at_its_exact_distance(rng: np.random.Generator) -> None:
    train = rng.uniform(0, 255, (700, 30))
    queries = train[rng.permutation(700)[:300]].copy()
    queries[:, 0] += 3.0
    found = nearest(queries, train)
    assert found.distance == pytest.approx(np.full(300, 3.0 / np.sqrt(30)), rel=1e-4)
    assert np.abs(train[found.row] - queries).max() == pytest.approx(3.0)


def test_a_copier_is_exposed_and_a_fair_generator_is_not(rng: np.random.Generator) -> None:
    train, real, fair = (rng.normal(size=(400, 6)) for _ in range(3))
    copied = train[:200] + 0.01 * rng.normal(size=(200, 6))
    held_out = nearest(real, train)
    exposed = compare_nearest(nearest(copied, train), held_out, rounds=40)
    assert exposed["chance_nearer"] > 0.97
    assert exposed["closer_than_hundredth"] > 0.5
    acquitted = compare_nearest(nearest(fair, train), held_out, rounds=40)
    low, high = acquitted["chance_nearer_interval"]
    assert low - 0.05 < 0.5 < high + 0.05
    assert acquitted["closer_than_hundredth"] < 0.06
