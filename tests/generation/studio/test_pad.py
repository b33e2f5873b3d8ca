"""The pad: what a point means, and where a mixture lies."""

from __future__ import annotations

import math

import numpy as np
import pytest

from encoder.emotions import EMOTION_NAMES, parse_distribution
from generation.studio import pad


@pytest.mark.parametrize("name", EMOTION_NAMES)
def test_a_corner_is_its_emotion_alone(name: str) -> None:
    corner = pad.CORNERS[pad.AROUND.index(name)]
    assert pad.in_words(pad.shares(corner)) == name
    assert pad.place(parse_distribution(name)) == pytest.approx(corner)


def test_between_two_names_lies_a_mixture_of_both() -> None:
    (ax, ay), (bx, by) = pad.CORNERS[1], pad.CORNERS[2]
    mixture = pad.shares((0.25 * ax + 0.75 * bx, 0.25 * ay + 0.75 * by))
    assert mixture == pytest.approx({**dict.fromkeys(EMOTION_NAMES, 0.0), "surprise": 0.25, "fear": 0.75})
    assert pad.in_words(mixture) == "fear:0.75,surprise:0.25"


def test_the_centre_is_all_alike() -> None:
    assert list(pad.shares((0.0, 0.0)).values()) == pytest.approx([1 / 7] * 7)


def test_every_point_is_a_distribution_that_orders_take(rng: np.random.Generator) -> None:
    for x, y in rng.uniform(-2, 2, (300, 2)):
        mixture = pad.shares((float(x), float(y)))
        assert sum(mixture.values()) == pytest.approx(1.0)
        assert min(mixture.values()) >= 0.0
        read = parse_distribution(pad.in_words(mixture))
        assert read == pytest.approx(tuple(mixture[name] for name in EMOTION_NAMES), abs=0.03)


def test_points_come_back_from_their_shares(rng: np.random.Generator) -> None:
    """Within the inner half every share counts, so nothing is left out and the way back is exact."""
    for angle, radius in rng.uniform((0, 0), (2 * math.pi, 0.15), (50, 2)):
        point = (radius * math.cos(angle), radius * math.sin(angle))
        mixture = pad.shares(point)
        assert pad.place([mixture[name] for name in EMOTION_NAMES]) == pytest.approx(point, abs=1e-9)


def test_a_point_outside_is_taken_at_the_edge() -> None:
    assert pad.inside((0.0, -5.0)) == pytest.approx((0.0, -1.0))
    assert pad.inside((0.1, 0.1)) == (0.1, 0.1)
