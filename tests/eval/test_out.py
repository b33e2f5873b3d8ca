"""A place for results that cannot be used is refused in one line, and before anything is loaded or drawn."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from configs.cli import UserError
from engine.storage.atomic import make_folder, require_place, write_json

NEEDS = {
    "ablation": ["--data", "drawn"],
    "augmentation": ["--data", "nowhere"],
    "cas": ["--data", "nowhere"],
    "editing": ["--data", "drawn"],
    "intensity": [],
    "knobs": ["--data", "drawn"],
    "reconstruction": ["--data", "drawn"],
    "report": ["--data", "nowhere"],
    "samples": [],
    "sweep": ["--data", "drawn"],
}


@pytest.mark.parametrize("name", NEEDS)
def test_a_file_in_the_way_is_said_first(name: str, tmp_path: Path) -> None:
    pytest.importorskip("torchmetrics")
    (tmp_path / "file").write_text("mine")
    module = "eval.report.__main__" if name == "report" else f"eval.{name}"
    with pytest.raises(UserError, match=r"file: cannot be made a folder: .*choose another --out"):
        importlib.import_module(module).main([*NEEDS[name], "--out", str(tmp_path / "file")])
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("name", ["editing", "intensity", "samples"])
def test_a_sheet_that_cannot_be_written_is_said_first(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    program = importlib.import_module(f"eval.{name}").main
    for sheet, words in ((tmp_path / "file" / "sheet.png", "choose another --sheet"), (tmp_path, "name a file in it")):
        with pytest.raises(UserError, match=words):
            program([*NEEDS[name], "--out", str(tmp_path / "out"), "--sheet", str(sheet)])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("option", ["--per-emotion", "--columns"])
def test_a_sheet_of_nothing_is_refused(option: str, tmp_path: Path) -> None:
    from eval.samples import main

    with pytest.raises(UserError, match=f"^{option}: must be at least 1, got 0"):
        main([option, "0", "--out", str(tmp_path / "out")])


def test_a_folder_is_made_or_refused_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require_place(tmp_path / "a" / "b")
    assert not (tmp_path / "a").exists()
    make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match="file"):
        write_json(tmp_path / "file" / "points" / "base.json", {})
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(UserError, match="nothing may be written in"):
        make_folder(tmp_path / "c")
