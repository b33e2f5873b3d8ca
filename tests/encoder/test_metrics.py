"""Figures on cases whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from encoder import metrics

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
