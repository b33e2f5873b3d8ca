"""Votes of FER+ as distributions and as majority labels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from encoder.data.ferplus import VOTE_COLUMNS, majority_ferplus, vote_distributions
from encoder.emotions import CONTEMPT, FERPLUS_NAMES, Emotion

COUNTS = arrays(np.int8, st.tuples(st.integers(1, 20), st.just(10)), elements=st.integers(0, 10))


def counts(**votes: int) -> list[list[int]]:
    return [[votes.get(name, 0) for name in VOTE_COLUMNS]]


@pytest.mark.parametrize("name", VOTE_COLUMNS[:8])
def test_a_unanimous_vote_is_that_class_alone(name: str) -> None:
    row = vote_distributions(counts(**{name: 10}))[0]
    assert row[FERPLUS_NAMES.index(name)] == 1
    assert row.sum() == 1
    assert FERPLUS_NAMES[majority_ferplus(counts(**{name: 10}))[0]] == name


def test_single_votes_count_for_nothing() -> None:
    row = vote_distributions(counts(fear=6, surprise=3, sadness=1))[0]
    assert row[Emotion.FEAR] == pytest.approx(2 / 3)
    assert row[Emotion.SURPRISE] == pytest.approx(1 / 3)
    assert row[Emotion.SADNESS] == 0


def test_unknown_and_not_a_face_are_no_part_of_the_distribution() -> None:
    row = vote_distributions(counts(contempt=4, unknown=4, NF=2))[0]
    assert row[CONTEMPT] == 1


def test_unknown_votes_still_stand_against_a_majority() -> None:
    assert majority_ferplus(counts(fear=5, unknown=5))[0] == -1
    assert majority_ferplus(counts(fear=6, unknown=4))[0] == Emotion.FEAR


def test_exactly_half_is_no_majority() -> None:
    assert majority_ferplus(counts(fear=5, surprise=5))[0] == -1
    assert majority_ferplus(counts(fear=5, surprise=4, sadness=1))[0] == Emotion.FEAR


@pytest.mark.parametrize("votes", [{"NF": 10}, {"unknown": 9, "fear": 1}, {}])
def test_votes_that_name_no_emotion_have_no_majority(votes: dict[str, int]) -> None:
    assert majority_ferplus(counts(**votes))[0] == -1
    assert not vote_distributions(counts(**votes)).any()


@given(COUNTS)
def test_rows_sum_to_one_or_are_empty_and_a_majority_is_on_top(votes: np.ndarray) -> None:
    rows = vote_distributions(votes)
    assert np.all(np.isclose(rows.sum(axis=1), 1) | (rows.sum(axis=1) == 0))
    for row, winner in zip(rows, majority_ferplus(votes), strict=True):
        assert winner == -1 or row[winner] > 0.5


@pytest.mark.parametrize("votes", [np.zeros((2, 8)), np.zeros(10), -np.ones((1, 10))])
def test_what_is_no_table_of_counts_is_refused(votes: np.ndarray) -> None:
    with pytest.raises(ValueError, match="vote counts"):
        vote_distributions(votes)
    with pytest.raises(ValueError, match="vote counts"):
        majority_ferplus(votes)


def test_no_faces_no_votes() -> None:
    assert vote_distributions(np.zeros((0, 10))).shape == (0, 8)
    assert majority_ferplus(np.zeros((0, 10))).shape == (0,)
