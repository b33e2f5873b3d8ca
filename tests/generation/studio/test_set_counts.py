"""The numbers of the tab Set: of emotions, and in tables in the page's language."""

from __future__ import annotations

from typing import Any

import pytest

from configs.cli import UserError
from encoder.emotions import EMOTION_NAMES
from generation.studio.tabs.set_counts import Counts, _rows
from generation.studio.texts import texts
from vqvae.attributes import ATTRIBUTES

COUNTS = Counts([], None, ("gender", "group"))  # type: ignore[arg-type]


def values(by: str, boxes: list[Any], language: str, count: int = 2) -> list[Any]:
    tables = [_rows(name, texts(language), count) for name in COUNTS.attributes]
    return [by, *boxes, *tables]


@pytest.mark.parametrize("language", ["en", "fr"])
def test_numbers_are_those_that_are_shown(language: str) -> None:
    t = texts(language)
    boxes = [3, 0, None, 5, 0, 0, 0]
    assert COUNTS.read(values("emotion", boxes, language), t) == {"anger": 3, "happiness": 5}
    found = COUNTS.read(values("group", boxes, language), t)
    assert found == {f"{name}/{word}": 2 for name in EMOTION_NAMES for word in ATTRIBUTES["group"]}
    changed = values("gender", boxes, language)
    changed[8][2][1:] = [20, "0"]
    assert "fear/female" in COUNTS.read(changed, t)
    assert COUNTS.read(changed, t)["fear/female"] == 20
    assert "fear/male" not in COUNTS.read(changed, t)


def test_what_is_no_number_and_nobody_are_refused() -> None:
    t = texts("en")
    wrong = values("group", [0] * 7, "en")
    wrong[9][1][3] = "many"
    with pytest.raises(UserError, match="many"):
        COUNTS.read(wrong, t)
    with pytest.raises(UserError, match="at least one"):
        COUNTS.read(values("gender", [0] * 7, "en", 0), t)
    short = values("group", [0] * 7, "en")
    short[9][0] = short[9][0][:-1]
    with pytest.raises(UserError, match="columns"):
        COUNTS.read(short, t)


def test_babies_are_asked_for_by_hand() -> None:
    assert [row[1] for row in _rows("age", texts("en"), 4)] == [0] * 7
    assert _rows("age", texts("en"), 4)[0][2:] == [4] * 8
