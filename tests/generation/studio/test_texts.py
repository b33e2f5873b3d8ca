"""The words of the page: whole in both languages, and none that nobody uses."""

from __future__ import annotations

import re
from pathlib import Path
from string import Formatter

import pytest

from encoder.emotions import EMOTION_NAMES, parse_emotion
from generation.studio.texts import LANGUAGES, preferred, texts

SOURCES = "".join(path.read_text() for path in (Path(__file__).resolve().parents[3] / "generation/studio").rglob("*.py"))


def fields(words: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(words) if name}


def test_both_languages_say_the_same() -> None:
    english, french = texts("en").words, texts("fr").words
    assert english.keys() == french.keys()
    assert {name: fields(words) for name, words in english.items()} == {name: fields(words) for name, words in french.items()}
    assert all(words.strip() for words in (*english.values(), *french.values()))


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_text_is_used(language: str) -> None:
    def used(name: str) -> bool:
        part = name.split(".")[0]
        return any(word in SOURCES for word in (f'"{name}"', f"'{name}'", f'f"{part}.{{'))

    assert not [name for name in texts(language).words if not used(name)]


def test_every_text_that_is_asked_for_is_there() -> None:
    asked = set(re.findall(r"""\bt\(\s*["']([a-z_]+\.[a-z_]+)["']""", SOURCES))
    assert asked
    assert asked <= texts("en").words.keys()


def test_french_names_of_emotions_are_those_that_orders_take() -> None:
    for name in EMOTION_NAMES:
        assert parse_emotion(texts("fr").emotion(name)) is parse_emotion(name)


@pytest.mark.parametrize(
    ("accepted", "language"),
    [("fr-CA,fr;q=0.9,en;q=0.8", "fr"), ("de,fr;q=0.5", "fr"), ("en-GB", "en"), ("", "en"), ("ja", "en"), ("," * 5000, "en")],
)
def test_the_language_is_the_one_that_the_browser_prefers(accepted: str, language: str) -> None:
    assert preferred(accepted) == language


def test_numbers_and_times_are_written_as_the_language_does() -> None:
    assert (texts("en").number(1.26, 1), texts("fr").number(1.26, 1)) == ("1.3", "1,3")
    assert [texts("en").seconds(value) for value in (3.2, 89, 200, 4800, 7230)] == ["3 s", "89 s", "3 min", "80 min", "2 h 00"]
