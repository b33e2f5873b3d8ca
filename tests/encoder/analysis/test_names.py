"""Files by hostile names: not UTF-8, as long as file systems take, with control signs, like formulas."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from configs.cli import UserError
from configs.wording import one_line, printable
from encoder.analysis.analyzer import Reading
from encoder.analysis.annotate import Annotator
from encoder.analysis.listing import Listing
from encoder.analysis.rows import FaceRow
from encoder.analysis.tables import create_table
from encoder.analyze import main
from encoder.pictures.pictures import Picture
from encoder.pictures.sources import View
from engine.storage.atomic import atomic_write_bytes, short_name

NOT_UTF8 = os.fsdecode(b"caf\xe9.jpg")
FORMULAS = ("=1+1", "+HYPERLINK(1)", "-2+3", "@SUM(1)", "\t=1", "\r=1", "\uff1d1")
SHARES = (0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0)


def row(source: str, **more: object) -> FaceRow:
    return FaceRow(source, face=0, box=(1, 2, 3, 4), score=1.0, distribution=SHARES, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".json", ".jsonl"])
def test_a_name_that_is_no_utf8_is_written_as_escapes_and_leaves_nothing_behind(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"table{ending}"
    table = create_table(path, kept={"id": "string"})
    table.write(row(NOT_UTF8), {"id": NOT_UTF8})
    table.close()
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    if ending == ".parquet":
        assert pq.read_table(path).column("source").to_pylist() == ["caf\\udce9.jpg"]
    else:
        assert "caf\\udce9.jpg" in path.read_text(encoding="utf-8")


def sources(path: Path, **options: bool) -> list[str]:
    table = create_table(path, kept={"id": "string"}, **options)  # type: ignore[arg-type]
    for name in FORMULAS:
        table.write(row(name), {"id": "-0.5"})
    table.close()
    with path.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert {each["id"] for each in rows} == {"-0.5"}
    return [each["source"] for each in rows]


def test_no_cell_of_a_csv_is_computed_by_a_spreadsheet_unless_asked_for(tmp_path: Path) -> None:
    assert sources(tmp_path / "safe.csv") == [f"'{name}" for name in FORMULAS]
    assert sources(tmp_path / "raw.csv", as_is=True) == list(FORMULAS)
    with pytest.raises(UserError, match=r"--csv-as-is is for --out FILE\.csv"):
        main(["a.jpg", "--csv-as-is", "--out", str(tmp_path / "a.json")])


def test_no_name_forges_a_row_or_moves_the_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    listing = Listing(["a"], quiet=False, gender=False, gallery=False)
    for name in ("a\nforged.jpg 1, 2, 3, 4 anger", "\x1b[2Jb.jpg", "c\r.jpg"):
        listing.add(Reading(View(name), (row(name),)))
        listing.add(Reading(View(name), (FaceRow(name, problem="bad\nforged"),)))
    shown = capsys.readouterr()
    assert shown.out.count("\n") == 4  # the head and three rows
    assert shown.err.count("\n") == 3
    assert not any(sign in shown.out + shown.err for sign in "\x1b\r")
    assert not any("\n" in line for line in listing.skipped)


def test_an_annotated_picture_may_have_the_longest_name(tmp_path: Path) -> None:
    annotator = Annotator(tmp_path)
    view = View("x" * 240 + ".jpg", picture=Picture(np.zeros((60, 60, 3), np.uint8), 60, 60))
    for _ in range(3):
        annotator.add(Reading(view, (row(view.source),)))
    annotator.close()
    names = [path.name for path in tmp_path.iterdir()]
    assert len(set(names)) == 3
    assert all(name.startswith("x" * 200) and name.endswith(".jpg") for name in names)


@pytest.mark.parametrize("name", ["x" * 251 + ".png", "é" * 125 + ".png", os.fsdecode(b"\xff" * 251 + b".png")])
def test_a_file_with_the_longest_name_is_written(tmp_path: Path, name: str) -> None:
    atomic_write_bytes(tmp_path / name, b"whole")
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


def test_a_name_is_cut_between_signs() -> None:
    assert short_name("short", 32) == "short"
    assert short_name("é" * 200, 32) == "é" * 111
    assert len(os.fsencode(short_name("x" * 300, 20))) == 235


def test_a_strict_terminal_ends_no_batch() -> None:
    program = "from configs.cli import run; run(lambda argv: print(argv[0]), ['caf\\udce9 …'])"
    environment = {**os.environ, "PYTHONIOENCODING": "ascii:strict"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stdout) == (0, "caf\\udce9 \\u2026\n")


def test_words_from_outside_are_one_short_line() -> None:
    assert printable("a\nb\x1b\udce9") == "a\\nb\\x1b\\udce9"
    assert one_line("x" * 10**7) == "x" * 300 + "…"
    assert one_line(ValueError("a\n b")) == "a b"
    assert one_line(MemoryError()) == "MemoryError"
