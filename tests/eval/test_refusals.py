"""What cannot be done is refused in one line, before anything is loaded, drawn, trained or written."""

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
    "people": ["--data", "nowhere"],
    "realism.__main__": ["--data", "drawn"],
    "reconstruction": ["--data", "drawn"],
    "report.page": ["--data", "nowhere"],
    "samples": [],
    "sweep": ["--data", "drawn"],
}


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("ablation", ["--rows", "default,nothing"], "no row 'nothing'"),
        ("ablation", ["--seeds", "0,x"], "no list of whole numbers"),
        ("ablation", ["--minutes-per-row", "0"], "must be positive"),
        ("ablation", ["tokenizer.codebok_size=3"], "did you mean codebook_size"),
        ("ablation", ["--judge", "nowhere"], "nowhere: no such folder"),
        ("augmentation", ["--amounts", "0"], "at least 1"),
        ("augmentation", ["--emotions", "joyful,fera"], "did you mean"),
        *(
            ("benchmarks.encoder", [option, "0"], f"{option} 0: give at least")
            for option in ("--faces", "--size", "--rounds", "--threads")
        ),
        *(("benchmarks.gpu", [option, "0"], f"{option} 0: give at least 1") for option in ("--batch", "--samples", "--warmup")),
        *(("benchmarks.gpu", [option, "0"], f"{option} 0: give at least 1") for option in ("--steps", "--rounds")),
        ("benchmarks.prior", ["--groups", "0"], "--groups 0: give at least 1"),
        ("benchmarks.prior", ["--positions", "60"], "no square number"),
        ("benchmarks.prior", ["--rounds", "3"], "at least 7"),
        ("benchmarks.prior", ["--verified", "-1"], "--verified -1: give at least 0"),
        ("benchmarks.prior", ["--width", "30"], "no multiple of --heads"),
        ("benchmarks.shards", ["--faces", "63"], "--faces 63: give at least 64"),
        ("benchmarks.vq", ["--rounds", "3"], "at least 7"),
        ("cas", ["--seeds", "0,0"], "each once"),
        ("cas", ["--times", "0,1"], "positive"),
        ("cas", ["--widths", "a,b"], "whole numbers"),
        ("editing", ["--emotions", "fera"], "did you mean 'fear'"),
        ("editing", ["--from", "nutral"], "did you mean 'neutral'"),
        ("intensity", ["--count", "1"], "--count"),
        ("intensity", ["--emotions", "fear,neutral"], "neutral is where intensity begins"),
        ("intensity", ["--emotions", "fera"], "did you mean 'fear'"),
        ("intensity", ["--levels", "2"], "--levels"),
        ("knobs", ["--avoidance=-1"], "avoidance"),
        ("knobs", ["--candidates", "nan"], "--candidates: nan is no whole number"),
        ("knobs", ["--guidance", "0,99"], "guidance"),
        ("knobs", ["--intensity", "2"], "intensity must lie between 0"),
        ("knobs", ["--only", "steps,colour"], "no knob 'colour'; known are steps, guidance"),
        ("knobs", ["--per-emotion", "1"], "at least 2"),
        ("knobs", ["--precision", "half"], "precision"),
        ("knobs", ["--look", "oil"], "look"),
        ("knobs", ["--steps", "2.5"], "--steps: 2.5 is no whole number"),
        ("people", ["--only", "lfw,edit-joy"], "no pictures 'edit-joy'; known are lfw, lfw-grey"),
        ("people", ["--people", "1"], "--people 1: give at least 2"),
        ("people", ["--embedder", "face"], "embedder 'face': choose dlib"),
        ("realism.__main__", ["--epochs", "0"], "--epochs 0: give at least 1"),
        ("realism.__main__", ["--only", "told,eyes"], "no part 'eyes'; known are drawing, distances"),
        ("realism.__main__", ["--per-emotion", "1"], "--per-emotion 1: give at least 2"),
        ("realism.__main__", ["--guidance", "99"], "guidance"),
        ("report.page", ["--per-emotion", "1"], "--per-emotion"),
        ("report.page", ["--rounds", "1"], "--rounds"),
        ("report.page", ["--seed", "-1"], "--seed"),
        ("samples", ["--columns", "0"], "^--columns 0: give at least 1"),
        ("samples", ["--per-emotion", "0"], "^--per-emotion 0: give at least 1"),
        ("sweep", ["--guidance", "0,99"], "guidance"),
        ("sweep", ["--per-emotion", "1"], "at least 2"),
        ("sweep", ["--steps", "2.5"], "no whole number"),
    ],
)
def test_options_that_make_no_sense(name: str, options: list[str], message: str, tmp_path: Path) -> None:
    pytest.importorskip("torchmetrics")
    with pytest.raises(UserError, match=message):
        importlib.import_module(f"eval.{name}").main([*NEEDS.get(name, []), "--out", str(tmp_path / "out"), *options])
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("name", NEEDS)
def test_a_file_where_the_results_should_go(name: str, tmp_path: Path) -> None:
    pytest.importorskip("torchmetrics")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match=r"file: cannot be made a folder: .*choose another --out"):
        importlib.import_module(f"eval.{name}").main([*NEEDS[name], "--out", str(tmp_path / "file")])
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("name", ["editing", "intensity", "samples"])
def test_a_sheet_that_cannot_be_written(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    program = importlib.import_module(f"eval.{name}").main
    for sheet, words in ((tmp_path / "file" / "sheet.png", "choose another --sheet"), (tmp_path, "name a file in it")):
        with pytest.raises(UserError, match=words):
            program([*NEEDS[name], "--out", str(tmp_path / "out"), "--sheet", str(sheet)])
    assert not (tmp_path / "out").exists()


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
