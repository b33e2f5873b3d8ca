"""``python -m eval.ratings``: what rating sheets saved, read back and counted."""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from configs.cli import UserError
from encoder.emotions import EMOTION_NAMES
from eval.faces.ratings import read_ratings
from eval.measures.rated import confusion, rated_figures
from eval.ratings import main
from generation.kit.rating_sheet import ANSWERS, FIELDS

Rows = Sequence[tuple[str, str, str, object, object]]
Write = Callable[[str, Rows], Path]
FACES = {f"{number:010x}": face for number, face in enumerate(itertools.product(EMOTION_NAMES, (0.5, 1.0)))}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What is read of a set."""
    place = tmp_path / "set"
    place.mkdir()
    (place / "manifest.json").write_text('{"set": "s1"}')
    lines = ["code,emotion,intensity", *(f"{code},{name},{level}" for code, (name, level) in FACES.items())]
    (place / "faces.csv").write_text("\n".join(lines) + "\n")
    return place


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """``write(name, rows)``: a file of ratings (rater, code, emotion, intensity, believability)."""

    def file(name: str, rows: Rows) -> Path:
        path = tmp_path / name
        with path.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(FIELDS)
            for place, (rater, code, *answers) in enumerate(rows, 1):
                writer.writerow(["s1", rater, place, code, *answers, "2.5", "2026-01-01T00:00:00.000Z"])
        return path

    return file


def test_raters_who_see_what_was_asked(folder: Path, write: Write, tmp_path: Path) -> None:
    files = [write(f"{who}.csv", [(who, code, name, 1 + round(8 * x), 7) for code, (name, x) in FACES.items()]) for who in "AB"]
    assert main([*map(str, files), "--set", str(folder), "--out", str(tmp_path / "found"), "--bootstrap", "200"]) == 0
    figures = json.loads((tmp_path / "found" / "ratings.json").read_text())
    assert (figures["raters"], figures["faces"], figures["ratings"]) == (2, 14, 28)
    assert figures["kappa"]["value"] == 1
    for each in figures["emotions"].values():
        assert each["hit_rate"]["value"] == each["unbiased_hit_rate"]["value"] == each["kappa"]["value"] == 1
        assert each["chance"] == pytest.approx(1 / 49, abs=1e-4)
    assert {(each["asked"], each["intensity"]["value"]) for each in figures["levels"]} == {(0.5, 5.0), (1.0, 9.0)}
    assert "| fear | 0.5 |" in (tmp_path / "found" / "ratings.md").read_text()


def test_answers_are_counted_as_they_were_given(folder: Path, write: Write, rng: np.random.Generator) -> None:
    rows = [
        (rater, code, ANSWERS[rng.integers(8)], int(rng.integers(1, 10)), int(rng.integers(1, 8)))
        for rater in ("R1", "R2", "R3")
        for code in FACES
        if rng.random() < 0.8
    ]
    ratings = read_ratings([write("all.csv", rows)], folder)
    counts = np.zeros((7, 8), int)
    for _, code, emotion, *_ in rows:
        counts[EMOTION_NAMES.index(FACES[code][0]), ANSWERS.index(emotion)] += 1
    found = confusion(ratings, np.arange(len(ratings.codes)), np.arange(len(ratings.raters)))
    np.testing.assert_array_equal(found, counts)
    figures = rated_figures(ratings, resamples=150)
    for name, each in figures["emotions"].items():
        row = counts[EMOTION_NAMES.index(name)]
        assert each["answers"] == dict(zip(ANSWERS, row.tolist(), strict=True))
        low, high = each["hit_rate"]["interval"]
        assert low <= each["hit_rate"]["value"] <= high
    believed = [float(row[4]) for row in rows if FACES[row[1]] == ("fear", 1.0)]
    (fear,) = [each for each in figures["levels"] if (each["emotion"], each["asked"]) == ("fear", 1.0)] or [None]
    if believed:
        assert fear is not None
        assert fear["believability"]["value"] == pytest.approx(np.mean(believed), abs=1e-4)


def test_one_rater_has_no_agreement(folder: Path, write: Write) -> None:
    rows = [("R1", code, name, 5, 5) for code, (name, _) in FACES.items()]
    figures = rated_figures(read_ratings([write("a.csv", rows)], folder), resamples=100)
    assert figures["kappa"]["value"] is None
    assert figures["emotions"]["fear"]["hit_rate"]["value"] == 1


CODE = next(iter(FACES))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("R", "ffff", "fear", 1, 1)], "line 2: .* has no face ffff"),
        ([("R", CODE, "fera", 1, 1)], "line 2: emotion: unknown 'fera'"),
        ([("R", CODE, "fear", 10, 1)], "intensity: must be a whole number from 1 to 9, got '10'"),
        ([("R", CODE, "fear", 1, "")], "believability: must be a whole number from 1 to 7"),
        ([("R", CODE, "fear", 1, 1), ("R", CODE, "fear", 1, 1)], "line 3: R has rated 0000000000 before"),
        ([], "holds no rating"),
    ],
)
def test_wrong_ratings_are_refused_by_line(folder: Path, write: Write, rows: Rows, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_ratings([write("wrong.csv", rows)], folder)


def test_ratings_of_another_set_and_other_files_are_refused(folder: Path, write: Write, tmp_path: Path) -> None:
    path = write("a.csv", [("R", CODE, "fear", 1, 1)])
    (folder / "manifest.json").write_text('{"set": "s2"}')
    with pytest.raises(UserError, match="rates the set s1"):
        read_ratings([path], folder)
    with pytest.raises(UserError, match="is no set"):
        read_ratings([path], tmp_path)
    other = tmp_path / "other.csv"
    other.write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match="has no column set"):
        read_ratings([other], folder)
    other.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="no CSV file"):
        read_ratings([other], folder)
    with pytest.raises(UserError, match="no such file"):
        read_ratings([tmp_path / "absent.csv"], folder)
