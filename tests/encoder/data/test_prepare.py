"""The command that checks a data set: its table, its exit code, what it writes."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from configs.cli import UserError
from encoder.data.load import load_faces
from encoder.pictures.face_images import png_bytes
from encoder.prepare import main

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def tree(tmp_path: Path, rng: np.random.Generator) -> Path:
    """Three faces in train, one of them in test again with another label; one in valid."""
    root = tmp_path / "photos"
    faces = rng.integers(0, 256, (4, 48, 48), dtype=np.uint8)
    places = {"train/sad/0": 0, "train/sad/1": 1, "train/fear/2": 2, "valid/happy/3": 3, "test/angry/0": 0}
    for place, index in places.items():
        path = root / f"{place}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png_bytes(faces[index]))
    return root


def cells(table: str, title: str) -> list[str]:
    lines = [line for line in table.splitlines() if line.strip().startswith(title)]
    assert len(lines) == 1, f"{title!r} not once in:\n{table}"
    return lines[0].strip()[len(title) :].split()


def test_a_clean_data_set_is_counted_and_exits_0(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tree)]) == 0
    table = capsys.readouterr().out
    assert cells(table, "sadness") == ["2", "0", "0"]
    assert cells(table, "all") == ["3", "1", "1"]
    assert cells(table, "test, twin in train") == ["1", "0", "1"]
    assert cells(table, "twice within train") == ["0", "0", "0"]
    assert "FER+ votes: none" in table
    assert "no unreadable" in table


def test_problems_are_listed_and_exit_1(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(30):
        (tree / "train" / "sad" / f"bad{number}.png").write_bytes(b"x")
    report = tree.parent / "report.json"
    assert main([str(tree), "--json", str(report)]) == 1
    table = capsys.readouterr().out
    assert "skipped: 30 rows or files" in table
    assert "10 more" in table
    assert len(json.loads(report.read_text())["problems"]) == 30
    assert cells(table, "all") == ["3", "1", "1"]


def test_a_problem_is_refused_when_asked(tree: Path) -> None:
    (tree / "test" / "angry" / "bad.png").write_bytes(b"x")
    with pytest.raises(UserError, match=r"bad\.png"):
        main([str(tree), "--on-error", "refuse"])


def test_a_held_out_split_and_its_problems_are_told_once(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tree / "valid").rename(tree / "other")
    (tree / "train" / "sad" / "notes.txt").write_text("x")
    assert main([str(tree)]) == 1
    table = capsys.readouterr().out
    assert table.count("held out") == 1
    assert "skipped: 1 rows or files" in table


def test_what_it_writes_is_the_data_set_again(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tree.parent / "out"
    assert main([str(tree), "--write", str(out)]) == 0
    assert sorted(path.name for path in out.iterdir()) == ["test.parquet", "train.parquet", "valid.parquet"]
    first = capsys.readouterr().out
    assert main([str(out)]) == 0
    second = capsys.readouterr().out
    assert second.splitlines()[1:-1] == [line for line in first.splitlines() if "wrote" not in line][1:-1]
    for split in ("train", "valid", "test"):
        assert np.array_equal(load_faces(out, split).images, load_faces(tree, split).images)
        assert np.array_equal(load_faces(out, split).labels, load_faces(tree, split).labels)
    with pytest.raises(UserError, match="exists already"):
        main([str(tree), "--write", str(out)])


def test_another_size_is_written(tree: Path) -> None:
    out = tree.parent / "out"
    assert main([str(tree), "--size", "32", "--write", str(out)]) == 0
    assert load_faces(out, "train", size=32).images.shape == (3, 32, 32)


def test_the_report_counts_votes(tmp_path: Path, rng: np.random.Generator, capsys: pytest.CaptureFixture[str]) -> None:
    lines, votes = ["emotion,pixels,Usage"], ["Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear"]
    votes[0] += ",contempt,unknown,NF"
    for row, usage in enumerate(("Training", "Training", "PublicTest", "PrivateTest")):
        pixels = " ".join(map(str, rng.integers(0, 256, 48 * 48)))
        lines.append(f"2,{pixels},{usage}")
        votes.append(f"{usage},fer{row:07d}.png," + ("0,0,0,0,0,0,5,5,0,0" if row == 0 else "0,0,0,0,0,0,0,9,1,0"))
    (tmp_path / "fer2013.csv").write_text("\n".join(lines))
    (tmp_path / "fer2013new.csv").write_text("\n".join(votes))
    assert main([str(tmp_path)]) == 0
    table = capsys.readouterr().out
    assert cells(table, "faces with usable votes") == ["2", "1", "1"]
    assert cells(table, "majority contempt") == ["1", "1", "1"]
    assert cells(table, "majority fear") == ["0", "0", "0"]


def test_an_output_that_cannot_be_written_is_refused_and_leaves_nothing(tree: Path) -> None:
    with pytest.raises(UserError, match="cannot be written"):
        main([str(tree), "--json", str(tree.parent / "missing" / "report.json")])
    (tree.parent / "file").touch()
    with pytest.raises(UserError, match="cannot be made a folder"):
        main([str(tree), "--json", str(tree.parent / "file" / "report.json")])
    with pytest.raises(UserError, match="cannot be made a folder"):
        main([str(tree), "--write", str(tree.parent / "file" / "out")])
    assert sorted(path.name for path in tree.parent.iterdir()) == ["file", "photos"]


def test_only_bad_files_are_no_data_set(tmp_path: Path) -> None:
    for split in ("train", "valid", "test"):
        (tmp_path / split / "sad").mkdir(parents=True)
        (tmp_path / split / "sad" / "a.png").write_bytes(b"x")
    with pytest.raises(UserError, match=r"no readable face.*first of 3 problems"):
        main([str(tmp_path)])
    for split in ("train", "test"):
        (tmp_path / split / "sad" / "a.png").unlink()
    with pytest.raises(UserError, match=r"no readable face; (?!first of).*a\.png"):
        main([str(tmp_path)])


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "encoder.prepare", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_the_command_refuses_with_one_line_and_exit_2(tmp_path: Path) -> None:
    done = command(str(tmp_path / "nothing"))
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
