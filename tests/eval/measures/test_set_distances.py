"""Distances with a floor and intervals, on sets whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from eval.faces.mixing import same_mix
from eval.measures.distances import density_and_coverage, frechet_distance, kernel_distance, mean_pairwise_distance
from eval.measures.set_distances import compare_sets, diversity


def test_the_figures_are_those_of_the_plain_metrics(rng: np.random.Generator) -> None:
    real, made, floor = rng.normal(size=(90, 4)), 0.7 + rng.normal(size=(60, 4)), rng.normal(size=(60, 4))
    found = compare_sets(real, made, floor, rounds=4)
    assert found["kernel_distance"].made.value == pytest.approx(kernel_distance(real, made))
    assert found["frechet_distance"].floor.value == pytest.approx(frechet_distance(real, floor))
    density, coverage = density_and_coverage(real, made)
    assert found["density"].made.value == pytest.approx(density)
    assert found["coverage"].made.value == pytest.approx(coverage)
    assert diversity(made, rounds=4).value == pytest.approx(mean_pairwise_distance(made))


def test_one_source_lies_at_the_floor_and_another_far_above_it(rng: np.random.Generator) -> None:
    real, floor = rng.normal(size=(300, 4)), rng.normal(size=(200, 4))
    same = compare_sets(real, rng.normal(size=(200, 4)), floor, rounds=60)
    far = compare_sets(real, 1.5 + rng.normal(size=(200, 4)), floor, rounds=60)
    assert abs(same["kernel_distance"].made.value) < 0.5
    assert far["kernel_distance"].made.low > 3 * same["kernel_distance"].made.high
    assert far["frechet_distance"].multiple.value > 20
    assert far["coverage"].made.value < 0.8 * far["coverage"].floor.value
    assert same["coverage"].multiple.low < 1.05
    assert same["coverage"].multiple.high > 0.95


def test_intervals_hold_the_truth_about_as_often_as_they_say(rng: np.random.Generator) -> None:
    hits = 0
    for seed in range(40):
        sets = (rng.normal(size=(60, 2)) for _ in range(3))
        distance = compare_sets(*sets, rounds=40, seed=seed, frechet=False)["kernel_distance"].made
        # Two sets from one source are zero apart in expectation.
        hits += distance.low <= 0 <= distance.high
    assert hits >= 30


def test_copies_do_not_look_diverse(rng: np.random.Generator) -> None:
    faces = rng.normal(size=(50, 8))
    spread = diversity(faces, rounds=50)
    assert spread.low < spread.value < spread.high
    # A face and its copy are a pair at no distance. Of 100 faces, each there twice, one pair in 99 is such a pair.
    assert diversity(np.repeat(faces, 2, axis=0), rounds=2).value == pytest.approx(spread.value * 98 / 99)
    # Of two faces that are there 25 times each, 24 in 49 pairs are.
    apart = float(np.linalg.norm(faces[0] - faces[1]))
    assert diversity(np.repeat(faces[:2], 25, axis=0), rounds=2).value == pytest.approx(apart * 25 / 49)


def test_a_multiple_of_nothing_is_not_given(rng: np.random.Generator) -> None:
    sets = [rng.normal(size=(80, 3)) for _ in range(3)]
    found = compare_sets(*sets, rounds=30)["kernel_distance"]
    if found.floor.low <= 0:
        assert found.multiple is None
    assert compare_sets(*sets, rounds=30)["coverage"].made.high <= 1


def test_a_floor_of_another_number_is_refused(rng: np.random.Generator) -> None:
    with pytest.raises(ValueError, match="depend on the number"):
        compare_sets(rng.normal(size=(30, 2)), rng.normal(size=(20, 2)), rng.normal(size=(21, 2)))


def test_the_mix_of_emotions_is_matched(rng: np.random.Generator) -> None:
    labels = np.repeat([0, 1, 2, -1], [100, 100, 100, 50])
    wanted = np.repeat([0, 1], [30, 10])
    rows = same_mix(labels, wanted)
    assert len(set(rows)) == len(rows)
    assert np.bincount(labels[rows]).tolist() == [100, 33]
