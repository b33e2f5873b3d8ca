"""When a face counts as showing what was asked for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from encoder.emotions import Emotion, one_hot, parse_distribution
from generation.verify import judge, wanted_tops

rows = st.lists(st.floats(0.001, 1), min_size=7, max_size=7).map(lambda row: tuple(p / sum(row) for p in row))


@given(asked=rows, read=rows)
def test_the_match_is_a_share_and_full_for_the_same(asked: tuple[float, ...], read: tuple[float, ...]) -> None:
    assert 0 <= judge(asked, read, 0.5).match <= 1 + 1e-9
    assert judge(asked, asked, 0.5).match == pytest.approx(1.0)


@given(read=rows)
def test_for_a_pure_emotion_the_match_is_its_probability(read: tuple[float, ...]) -> None:
    assert judge(one_hot(Emotion.FEAR), read, 0.5).match == pytest.approx(read[Emotion.FEAR])


def test_the_threshold_and_the_top_both_count() -> None:
    fear = one_hot(Emotion.FEAR)
    assert judge(fear, parse_distribution("fear:0.6,sadness:0.4"), 0.5).accepted
    assert not judge(fear, parse_distribution("fear:0.6,sadness:0.4"), 0.7).accepted
    assert not judge(fear, parse_distribution("fear:0.45,sadness:0.55"), 0.1).accepted


def test_a_mixture_may_show_either_of_its_halves() -> None:
    assert wanted_tops(parse_distribution("fear:0.5,surprise:0.5")) == (Emotion.FEAR, Emotion.SURPRISE)
    assert wanted_tops(parse_distribution("fear:0.7,surprise:0.3")) == (Emotion.FEAR,)
