"""Figures on cases whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from encoder.evaluation import metrics

LABELS = np.array([0, 0, 0, 0, 1, 1])
FOUND = np.array([0, 0, 0, 1, 1, 0])


def test_known_table() -> None:
    table = metrics.confusion_matrix(LABELS, FOUND, 3)
    assert table.tolist() == [[3, 1, 0], [1, 1, 0], [0, 0, 0]]
    assert metrics.accuracy(table) == pytest.approx(4 / 6)
    assert metrics.balanced_accuracy(table) == pytest.approx((0.75 + 0.5) / 2)
    assert np.isnan(metrics.recall(table)[2])
    assert metrics.precision(table).tolist() == [0.75, 0.5, 0.0]
    assert metrics.macro_f1(table) == pytest.approx((0.75 + 0.5) / 2)


def test_figures_do_not_depend_on_the_order(rng: np.random.Generator) -> None:
    order = rng.permutation(len(LABELS))
    assert (metrics.confusion_matrix(LABELS[order], FOUND[order], 3) == metrics.confusion_matrix(LABELS, FOUND, 3)).all()


def test_calibration_error_of_honest_and_of_boastful_probabilities() -> None:
    labels = np.array([0] * 7 + [1] * 3)
    honest = np.tile([0.7, 0.3], (10, 1))
    boastful = np.tile([1.0, 0.0], (10, 1))
    assert metrics.expected_calibration_error(labels, honest) == pytest.approx(0.0, abs=1e-9)
    assert metrics.expected_calibration_error(labels, boastful) == pytest.approx(0.3)


def test_wilson_interval_known_values() -> None:
    low, high = metrics.wilson_interval(5, 10)
    assert (low, high) == pytest.approx((0.2366, 0.7634), abs=1e-3)
    assert metrics.wilson_interval(0, 10)[0] == 0.0
    assert metrics.wilson_interval(0, 0) == (0.0, 1.0)


def test_specificity_of_a_known_table() -> None:
    table = np.array([[8, 2, 0], [1, 4, 0], [0, 0, 5]])
    assert metrics.specificity(table) == pytest.approx([9 / 10, 13 / 15, 1.0])
    assert np.isnan(metrics.specificity(np.array([[3, 1], [0, 0]]))[0])


def test_area_under_curve_known_values() -> None:
    positive = np.array([True, True, False, False])
    assert metrics.area_under_curve(positive, np.array([0.9, 0.8, 0.2, 0.1])) == 1.0
    assert metrics.area_under_curve(positive, np.array([0.1, 0.2, 0.8, 0.9])) == 0.0
    assert metrics.area_under_curve(positive, np.array([0.9, 0.3, 0.4, 0.1])) == 0.75
    assert metrics.area_under_curve(positive, np.full(4, 0.5)) == 0.5
    assert metrics.area_under_curve(positive, np.array([0.9, 0.4, 0.4, 0.1])) == 0.875
    assert np.isnan(metrics.area_under_curve(np.ones(3, bool), np.arange(3.0)))


def test_area_under_curve_is_the_share_of_ordered_pairs(rng: np.random.Generator) -> None:
    labels = rng.integers(0, 3, 60)
    probabilities = rng.integers(0, 6, (60, 3)) / 5.0
    for index, found in enumerate(metrics.one_vs_rest_auc(labels, probabilities)):
        ours, others = probabilities[labels == index, index], probabilities[labels != index, index]
        pairs = ours[:, None] - others[None, :]
        assert found == pytest.approx(((pairs > 0) + 0.5 * (pairs == 0)).mean())


def test_reliability_bins_of_a_known_case() -> None:
    bins = metrics.reliability_bins(np.array([0.55, 0.65, 1.0]), np.array([True, False, True]), bins=4)
    assert bins.counts.tolist() == [0, 0, 2, 1]
    assert bins.confidence[2:] == pytest.approx([0.6, 1.0])
    assert bins.accuracy[2:] == pytest.approx([0.5, 1.0])
    assert np.isnan(bins.confidence[0])
    assert metrics.calibration_error(bins) == pytest.approx(0.2 / 3)


def test_bootstrap_matches_the_known_spread_of_a_share() -> None:
    hits = np.arange(400) < 300
    low, high = metrics.bootstrap(lambda index: np.array([hits[index].mean()]), 400, resamples=2000)
    assert (low[0], high[0]) == pytest.approx(metrics.wilson_interval(300, 400), abs=0.006)
    again = metrics.bootstrap(lambda index: np.array([hits[index].mean()]), 400, resamples=2000)
    assert (again[0][0], again[1][0]) == (low[0], high[0])


def test_bootstrap_of_a_difference_keeps_pairs_together(rng: np.random.Generator) -> None:
    first = rng.random(300) < 0.7
    low, high = metrics.bootstrap(lambda index: np.array([first[index].mean() - first[index].mean()]), 300, resamples=50)
    assert (low[0], high[0]) == (0.0, 0.0)
