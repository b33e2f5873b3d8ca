"""Hit rates and agreement against published worked examples and what they are made to tell apart."""

from __future__ import annotations

import numpy as np
import pytest

from eval.measures.agreement import (
    chance_hit_rates,
    fleiss_kappa,
    fleiss_kappa_of,
    hit_rates,
    two_way_bootstrap,
    unbiased_hit_rates,
)

# Faces shown in rows, answers in columns: happy, sad, angry, fearful; a worked example of Hu.
FOUR = np.array([[4, 0, 0, 2], [1, 3, 0, 0], [0, 2, 6, 0], [1, 1, 0, 4]])
# Ten subjects, fourteen raters, five categories: the worked example of Fleiss' kappa, 0.210.
FOURTEEN = np.array(
    [[0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
     [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7]]
)  # fmt: skip


def test_unbiased_hit_rates_of_a_worked_example() -> None:
    shown = FOUR.T.sum(axis=0)
    assert shown.tolist() == [6, 4, 8, 6]
    np.testing.assert_allclose(unbiased_hit_rates(FOUR), [16 / 36, 9 / 24, 36 / 48, 16 / 36])
    np.testing.assert_allclose(hit_rates(FOUR), [4 / 6, 3 / 4, 6 / 8, 4 / 6])
    np.testing.assert_allclose(chance_hit_rates(FOUR), np.array([36, 24, 48, 36]) / 24**2)


def test_one_answer_to_everything_hits_and_is_found_out() -> None:
    counts = np.zeros((7, 8), int)
    counts[:, 3] = 10
    assert hit_rates(counts)[3] == 1
    assert unbiased_hit_rates(counts)[3] == pytest.approx(1 / 7)
    assert chance_hit_rates(counts)[3] == pytest.approx(1 / 7)
    assert unbiased_hit_rates(counts)[0] == 0


def test_what_was_never_shown_has_no_rate() -> None:
    counts = np.zeros((2, 3), int)
    counts[0] = [4, 0, 1]
    assert np.isnan(hit_rates(counts)[1])
    assert np.isnan(unbiased_hit_rates(counts)[1])
    assert unbiased_hit_rates(counts)[0] == pytest.approx(0.8)


def test_kappa_of_the_published_example() -> None:
    assert fleiss_kappa(FOURTEEN) == pytest.approx(0.20993, abs=5e-6)


def test_kappa_of_two_answers_is_the_same_for_both(rng: np.random.Generator) -> None:
    yes = rng.integers(0, 6, 30)
    counts = np.stack([yes, 5 - yes], axis=1)
    assert fleiss_kappa_of(counts, 0) == pytest.approx(fleiss_kappa(counts)) == pytest.approx(fleiss_kappa_of(counts, 1))


def test_kappa_tells_agreement_from_chance(rng: np.random.Generator) -> None:
    assert fleiss_kappa(6 * np.eye(5, dtype=int)) == pytest.approx(1)
    assert abs(fleiss_kappa(rng.multinomial(8, [0.5, 0.3, 0.2], 4000))) < 0.02
    assert np.isnan(fleiss_kappa(np.array([[1, 0], [0, 1]])))
    assert np.isnan(fleiss_kappa(np.array([[3, 0], [5, 0]])))


def test_faces_with_one_rating_change_nothing() -> None:
    single = np.eye(5, dtype=int)
    assert fleiss_kappa(np.concatenate([FOURTEEN, single])) == fleiss_kappa(FOURTEEN)


def test_the_interval_is_wider_for_new_raters_too(rng: np.random.Generator) -> None:
    # Each rater has a rate of their own: with few raters they are what is uncertain.
    table = (rng.random((6, 200)) < rng.random((6, 1))).astype(float)

    def mean(faces: np.ndarray, raters: np.ndarray) -> np.ndarray:
        return np.array([table[np.ix_(raters, faces)].mean(), np.nan])

    low, high = two_way_bootstrap(mean, 200, 6, resamples=400)
    _, one = two_way_bootstrap(lambda faces, _: mean(faces, np.arange(6)), 200, 1, resamples=400)
    assert low[0] < table.mean() < high[0]
    assert high[0] - table.mean() > one[0] - table.mean()
    assert np.isnan(low[1])
