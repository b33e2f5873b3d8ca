"""Names, mixtures and intensities that people type."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.cli import UserError
from encoder.emotions import (
    COMPOUNDS,
    EMOTION_NAMES,
    NUM_EMOTIONS,
    Emotion,
    at_intensity,
    describe,
    parse_distribution,
    parse_emotion,
)


@pytest.mark.parametrize(
    ("name", "emotion"),
    [
        ("fear", Emotion.FEAR),
        ("Peur", Emotion.FEAR),
        ("colère", Emotion.ANGER),
        ("JOY", Emotion.HAPPINESS),
        ("dégoût", Emotion.DISGUST),
        ("angry", Emotion.ANGER),
        (" neutre ", Emotion.NEUTRAL),
    ],
)
def test_english_and_french_names(name: str, emotion: Emotion) -> None:
    assert parse_emotion(name) is emotion


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean 'joy'"):
        parse_emotion("joy2")


def test_a_mixture_is_normalised() -> None:
    mix = parse_distribution("fear:2, surprise:1")
    assert mix[Emotion.FEAR] == pytest.approx(2 / 3)
    assert mix[Emotion.SURPRISE] == pytest.approx(1 / 3)
    assert describe(mix) == "fear 0.67, surprise 0.33"


@pytest.mark.parametrize("text", ["fear:x", "fear:-1", "fear:nan", "fear,fear", "", "fear:inf"])
def test_bad_mixtures_are_refused(text: str) -> None:
    with pytest.raises(UserError):
        parse_distribution(text)


@given(weights=st.lists(st.floats(0.01, 10), min_size=7, max_size=7), intensity=st.floats(0, 1))
def test_intensity_mixes_with_neutral(weights: list[float], intensity: float) -> None:
    text = ",".join(f"{name}:{weight}" for name, weight in zip(EMOTION_NAMES, weights, strict=True))
    asked = parse_distribution(text)
    mixed = at_intensity(asked, intensity)
    assert sum(mixed) == pytest.approx(1.0)
    assert len(mixed) == NUM_EMOTIONS
    assert mixed[Emotion.FEAR] == pytest.approx(intensity * asked[Emotion.FEAR])


@pytest.mark.parametrize("intensity", [-0.1, 1.1])
def test_intensity_out_of_range_is_refused(intensity: float) -> None:
    with pytest.raises(UserError, match="between 0"):
        at_intensity(parse_distribution("fear"), intensity)


@pytest.mark.parametrize("name", COMPOUNDS)
def test_every_compound_is_a_blend_of_two(name: str) -> None:
    asked = parse_distribution(name)
    assert sum(p > 0 for p in asked) == 2
    assert parse_distribution(name.upper().replace(" ", "-")) == asked


@pytest.mark.parametrize(
    ("french", "english"),
    [
        ("joyeusement surpris", "happily surprised"),
        ("Craintivement en colère", "fearfully angry"),
        ("tristement dégoûtée", "sadly disgusted"),
        ("émerveillé", "awed"),
        ("haine", "hatred"),
    ],
)
def test_compounds_in_french(french: str, english: str) -> None:
    assert parse_distribution(french) == parse_distribution(english)


def test_compounds_mix_with_other_emotions() -> None:
    mix = parse_distribution("happily surprised:2, fear:1")
    assert mix[Emotion.HAPPINESS] == mix[Emotion.SURPRISE] == mix[Emotion.FEAR] == pytest.approx(1 / 3)
    with pytest.raises(UserError, match="'surprise' is named twice"):
        parse_distribution("happily surprised, surprise")


def test_a_misspelt_compound_is_refused_with_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean 'happily surprised'"):
        parse_distribution("hapily suprised")
