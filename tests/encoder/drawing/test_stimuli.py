"""Drawn faces as files: controlled, named, with a table of what is true."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from configs.cli import UserError
from encoder.drawing.action_units import AU_NUMBERS, parse_action_units
from encoder.drawing.stimuli import Stimuli
from encoder.drawn import main
from encoder.emotions import Emotion


def drawn(folder: Path, *words: str) -> list[dict[str, str]]:
    assert main([*words, "--size", "32", "--out", str(folder)]) == 0
    with (folder / "faces.csv").open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def units_of(row: dict[str, str]) -> np.ndarray:
    return np.array([float(row[f"AU{number:02d}"]) for number in AU_NUMBERS])


def test_each_person_shows_every_emotion_at_every_intensity_and_neutral_once(tmp_path: Path) -> None:
    rows = drawn(tmp_path, "--per-emotion", "3", "--intensities", "1,0.5")
    assert len(rows) == 3 * (6 * 2 + 1)
    assert sorted(row["file"] for row in rows) == sorted(path.name for path in tmp_path.glob("p*.png"))
    assert "p002_fear_050.png" in {row["file"] for row in rows}
    assert len({row["identity"] for row in rows}) == 3
    with Image.open(tmp_path / "p002_fear_050.png") as picture:
        assert picture.size == (32, 32)
        assert picture.text["AI-generated"] == "false"
        assert "digitalsourcetype/algorithmicMedia" in picture.text["XML:com.adobe.xmp"]
    with Image.open(tmp_path / "contact_sheet.png") as sheet:
        assert sheet.size == (13 * 130, 3 * 130)


def test_half_the_intensity_is_half_of_every_unit_in_the_same_variant(tmp_path: Path, rng: np.random.Generator) -> None:
    rows = drawn(tmp_path, "--per-emotion", "6", "--intensities", "0.5,1", "--seed", str(rng.integers(1 << 30)))
    by_name = {row["file"]: units_of(row) for row in rows}
    for name, units in by_name.items():
        if name.endswith("_050.png"):
            np.testing.assert_allclose(2 * units, by_name[name.replace("_050", "_100")], atol=2e-4)
            assert units.any()


def test_action_units_that_are_given_are_those_of_the_faces(tmp_path: Path) -> None:
    alone = drawn(tmp_path / "alone", "--au", "AU4=0.8,au07=0.5", "--count", "2")
    assert [row["file"] for row in alone] == ["p001_AU04-080_AU07-050.png", "p002_AU04-080_AU07-050.png"]
    for row in alone:
        shown = {number for number, strength in zip(AU_NUMBERS, units_of(row), strict=True) if strength}
        assert (row["emotion"], row["AU04"], row["AU07"], shown) == ("", "0.8", "0.5", {4, 7})
    (without,) = drawn(tmp_path / "without", "--per-emotion", "1", "--emotions", "peur", "--au", "AU5=0")
    (usual,) = drawn(tmp_path / "usual", "--per-emotion", "1", "--emotions", "fear")
    assert (without["AU05"], usual["AU05"], without["units_set"]) == ("0.0", "1.0", "AU05")
    assert without["AU20"] == usual["AU20"] != "0.0"


def test_people_do_not_depend_on_how_many_there_are() -> None:
    few, many = Stimuli(people=1, size=24, variation=1.0), Stimuli(people=9, size=24, variation=1.0)
    for (one, before), (two, after) in zip(few.person(0), many.person(0), strict=True):
        assert one == two
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--au", "AU3=1"], "unknown 'AU3'"),
        (["--au", "AU4=2"], "AU4 must lie between"),
        (["--au", "AU4=nan"], "AU4 must lie between"),
        (["--au", "AU4"], "no number"),
        (["--au", "AU4=1,AU04=0"], "named twice"),
        (["--au", "AU4=1", "--emotions", "fear"], "^--emotions: does nothing without --per-emotion"),
        (["--variation", "1"], "^--variation: does nothing"),
        (["--per-emotion", "2", "--count", "3"], "^--count: does nothing"),
        (["--per-emotion", "0"], "people must lie between"),
        (["--per-emotion", "1", "--size", "513"], "size must lie between"),
        (["--per-emotion", "1", "--intensities", "0,1"], "above 0 up to 1"),
        (["--per-emotion", "1", "--intensities", "a"], "write numbers"),
        (["--per-emotion", "1", "--emotions", "fera"], "did you mean"),
        (["--strip", "--count", "3"], "^--count: does nothing with --strip"),
    ],
)
def test_what_cannot_be_drawn_is_refused_before_any_work(words: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        main([*words, "--out", str(tmp_path / "new")])
    assert not list(tmp_path.iterdir())


def test_units_are_read_as_people_write_them() -> None:
    assert parse_action_units("AU4=0.8, au07=.5,12=1") == {4: 0.8, 7: 0.5, 12: 1.0}


def test_nothing_to_draw_is_refused() -> None:
    wrong: list[dict[str, Any]] = [{"emotions": ()}, {"intensities": (1.0, 1.0)}, {"units": {3: 0.1}}]
    for settings in wrong:
        with pytest.raises(UserError):
            Stimuli(people=1, **settings)
    assert Stimuli(people=1, emotions=(Emotion.NEUTRAL,), intensities=(0.5, 1.0)).columns == [(Emotion.NEUTRAL, 1.0)]
