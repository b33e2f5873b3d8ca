"""``python -m generation.sample`` as a user meets it."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

import generation.files as output
from configs.cli import UserError, run
from generation.sample import INCOMPLETE_EXIT, _missing, main

Sample = Callable[..., int]


@pytest.fixture
def sample(weights: Path, likely: str) -> Sample:
    """``sample(out, *options)``: three faces that are easily had; an option that is given again wins."""
    easy = ["--device", "cpu", "--threshold", "0", "--max-tries", "200", "--steps", "4", "--count", "3"]
    return lambda out, *more: main(["--emotion", likely, "--weights", str(weights), "--out", str(out), *easy, *more])


def test_files_say_what_they_are(sample: Sample, tmp_path: Path, likely: str, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "faces"
    assert sample(out, "--seed", "5", "--size", "32") == 0
    printed = capsys.readouterr().out
    assert "asked" in printed
    assert "accepted" in printed
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["ai_generated"] is True
    assert manifest["result"]["accepted"] == 3
    assert set(manifest["weights_sha256"]) == {"encoder", "tokenizer", "prior"}
    assert [face["seed"] for face in manifest["faces"]] == [5, 6, 7]
    for face in manifest["faces"]:
        assert sum(face["distribution"].values()) == pytest.approx(1, abs=0.01)
        with Image.open(out / face["file"]) as picture:
            assert picture.size == (32, 32)
            assert picture.text["AI-generated"] == "true"
            assert picture.text["Seed"] == str(face["seed"])
            assert likely in picture.text["Emotion"]
            assert "Mimique" in picture.text["Software"]
            assert "trainedAlgorithmicMedia" in picture.text["XML:com.adobe.xmp"]
    assert (out / "contact_sheet.png").is_file()


def test_too_few_faces_are_written_and_the_exit_code_says_so(
    sample: Sample, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "none"
    assert sample(out, "--threshold", "1", "--max-tries", "2") == INCOMPLETE_EXIT
    assert "only 0 of 3 faces were accepted in 6 tries, none of seeds 0, 1, 2; take another --seed" in capsys.readouterr().err
    assert [path.name for path in out.iterdir()] == ["manifest.json"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("strip", [False, True])
def test_whoever_stops_it_has_the_faces_made_by_then(
    weights: Path, forked: Callable[..., Any], tmp_path: Path, likely: str, number: int, code: int, strip: bool
) -> None:
    out, count = tmp_path / "faces", 100_000
    asked = ["--strip", f"{likely}:neutral", "--frames", "3"] if strip else ["--emotion", likely]
    own = ["--weights", str(weights), "--device", "cpu", "--threshold", "0", "--steps", "2", "--count", str(count)]
    started = forked(lambda _rank: run(main, [*asked, *own, "--out", str(out), "--batch-size", "2"]))
    end = time.monotonic() + 60
    while len(list(out.glob("*.png"))) < 6 and time.monotonic() < end:
        time.sleep(0.01)
    os.kill(started.members[0].pid, number)
    said = started.ends(code).strip().splitlines()
    faces = [path.name for path in out.iterdir() if path.suffix == ".png" and "-0" in path.name]
    assert len(faces) >= 6
    assert not [path.name for path in out.iterdir() if path.name.startswith(".")]
    if number == signal.SIGTERM:
        assert said[-1] == "stopped by SIGTERM"
        return
    manifest = json.loads((out / "manifest.json").read_text())
    assert sorted(face["file"] for face in manifest["faces"]) == sorted(faces)
    assert manifest["result"]["interrupted"] is True
    rows = f"{len(faces) // 3} of {count} rows" if strip else f"{len(faces)} of {count} faces"
    assert said[-1] == f"stopped by Ctrl-C: {rows} are in {out}"
    assert "max-tries" not in "".join(said)


def test_a_better_face_takes_the_place_of_another(sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    added = []
    original = output.FaceWriter.add
    monkeypatch.setattr(output.FaceWriter, "add", lambda self, face, *rest: added.append(face) or original(self, face, *rest))
    assert sample(tmp_path / "a", "--best-of", "8") == 0
    manifest = json.loads((tmp_path / "a" / "manifest.json").read_text())
    assert len({id(face) for face in added}) > 3
    assert {face["file"] for face in manifest["faces"]} | {"manifest.json", "contact_sheet.png"} == {
        path.name for path in (tmp_path / "a").iterdir()
    }


def test_the_seeds_without_a_face_are_named() -> None:
    def named(count: int, *found: int) -> str:
        faces = [SimpleNamespace(seed=seed) for seed in found]
        return _missing(SimpleNamespace(request=SimpleNamespace(seed=5, count=count), faces=faces))

    assert named(3, 5, 7) == "seed 6"
    assert named(4, 8) == "seeds 5, 6, 7"
    assert named(6) == "seeds 5, 6, 7 and 3 more"


def test_json_and_quiet(sample: Sample, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert sample(tmp_path / "a", "--json", "--quiet") == 0
    assert len(json.loads(capsys.readouterr().out)["faces"]) == 3
    assert sample(tmp_path / "b", "--quiet") == 0
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def test_an_earlier_request_is_replaced_as_a_whole_and_only_when_asked(sample: Sample, tmp_path: Path) -> None:
    sample(tmp_path / "a")
    (tmp_path / "a" / "mine.png").write_text("mine")
    before = sorted(path.name for path in (tmp_path / "a").iterdir())
    with pytest.raises(UserError, match=r"manifest\.json: is there already; choose another --out, or replace it with --over"):
        sample(tmp_path / "a")
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == before
    assert sample(tmp_path / "a", "--overwrite", "--seed", "9", "--count", "1") == 0
    manifest = json.loads((tmp_path / "a" / "manifest.json").read_text())
    listed = {"manifest.json", "contact_sheet.png", "mine.png", *(face["file"] for face in manifest["faces"])}
    assert {path.name for path in (tmp_path / "a").iterdir()} == listed
    assert len(listed) == 4


def test_a_manifest_of_somebody_else_takes_no_file_away(sample: Sample, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "kept.png").write_text("mine")
    (tmp_path / "a" / "manifest.json").write_text(json.dumps({"faces": [{"file": "../kept.png"}]}))
    assert sample(tmp_path / "a", "--overwrite", "--count", "1") == 0
    assert (tmp_path / "kept.png").read_text() == "mine"


def test_default_folders_are_numbered(weights: Path, tmp_path: Path, likely: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    easy = ["--threshold", "0", "--max-tries", "200", "--steps", "4", "--count", "1", "--quiet"]
    for _ in range(2):
        assert main(["--emotion", likely, "--weights", str(weights), *easy]) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [f"{likely}-s0", f"{likely}-s0-2"]


def test_a_failed_write_leaves_no_manifest(sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes) -> None:
        raise UserError(f"{path}: the disk is full")

    monkeypatch.setattr(output, "atomic_write_bytes", full)
    with pytest.raises(UserError, match="disk is full"):
        sample(tmp_path / "a")
    assert not (tmp_path / "a" / "manifest.json").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--emotion", "joy2"], "did you mean 'joy'"),
        (["--size", "5"], "^--size: "),
        (["--device", "nonsense"], "nonsense"),
        (["--seed", "-4"], "seed"),
        (["--count", "0"], "count"),
        (["--steps", "0"], "steps"),
        (["--batch-size", "0"], "^--batch-size: "),
        (["--avoidance", "0.4"], "^--avoidance: does nothing without --not"),
        (["--candidates", "3"], "^--candidates: does nothing without --encoder-guidance"),
        (["--frames", "5"], "^--frames: does nothing without --strip"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_what_cannot_be_done_is_one_line_and_leaves_no_folder(
    sample: Sample, tmp_path: Path, options: list[str], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        sample(tmp_path / "a", *options)
    assert not (tmp_path / "a").exists()


def test_a_folder_that_cannot_be_made_is_refused_before_a_face_is_drawn(
    sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("generation.draw.FaceModel.generate", None)
    (tmp_path / "file").write_text("mine")
    for folder in (tmp_path / "file", tmp_path / "file" / "deeper"):
        with pytest.raises(UserError, match="choose another --out"):
            sample(folder)
    assert (tmp_path / "file").read_text() == "mine"
