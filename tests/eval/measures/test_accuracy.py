"""Accuracy relative to real faces, on confusions whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from eval.measures.accuracy import reading, relative, summary


def confusion(hits: int, faces: int, classes: int = 7) -> np.ndarray:
    """Every emotion ``faces`` times, ``hits`` of them read right, the others as the next emotion."""
    table = np.zeros((7, 7), np.int64)
    for k in range(classes):
        table[k, k], table[k, (k + 1) % 7] = hits, faces - hits
    return table


def test_twice_as_often_right_is_a_multiple_of_two() -> None:
    found = relative(confusion(80, 100), confusion(40, 100))
    assert found["value"] == pytest.approx(2.0)
    low, high = found["interval"]
    assert 1.6 < low < 2.0 < high < 2.5


def test_only_emotions_that_both_have_are_compared() -> None:
    assert relative(confusion(90, 100), confusion(45, 100, classes=3))["value"] == pytest.approx(2.0)


def test_the_summary_counts_every_face_with_a_label() -> None:
    table = reading(np.array([0, 0, 1, -1]), np.array([0, 3, 1, 5]))
    found = summary(table)
    assert found["faces"] == 3
    assert found["balanced_accuracy"] == pytest.approx(0.75)
    assert found["recall"]["anger"]["value"] == 0.5
    assert found["recall"]["fear"] == {"faces": 0, "value": None, "interval": [0.0, 1.0]}
    assert found["interval"][0] <= 0.75 <= found["interval"][1]
