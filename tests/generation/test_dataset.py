"""``python -m generation.dataset``: balanced, verified, without near copies, resumable, the same on several processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import generation.dataset.files
import generation.dataset.make
import generation.dataset.selection
from configs.cli import UserError, run
from encoder.data.load import load_faces
from encoder.emotions import Emotion
from engine.storage.atomic import draft
from generation.dataset.__main__ import INCOMPLETE_EXIT, main
from generation.dataset.blocks import Block
from generation.dataset.make import collect, make_dataset, share_of
from generation.dataset.order import DatasetRequest
from generation.dataset.selection import Selection, thumbnails
from generation.faces import Face
from generation.pipeline import FacePipeline
from generation.verify import Verdict

Make = Callable[..., Path]
ROOT = Path(__file__).resolve().parents[2]
EASY = ["--threshold", "0", "--max-tries", "40", "--steps", "2", "--device", "cpu", "--least-difference", "0"]


def command(weights: Path, out: Path, likely: str, count: int, *more: str) -> list[str]:
    return ["--counts", f"{likely}:{count}", "--out", str(out), "--weights", str(weights), *EASY, *more]


@pytest.fixture
def make(weights: Path, tmp_path: Path, likely: str) -> Make:
    """``make(name, count, *options)``: a set in a folder of this name, by the command."""

    def run(name: str, count: int, *more: str) -> Path:
        assert main(command(weights, tmp_path / name, likely, count, *more, "--quiet")) == 0
        return tmp_path / name

    return run


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a set; of manifest and card, without time and command line."""
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    manifest = json.loads(found.pop("manifest.json"))
    card = found.pop("README.md").decode().replace(manifest["command"], "")
    return {**found, "manifest.json": json.dumps(manifest | {"created": "", "command": ""}).encode(), "README.md": card.encode()}


@pytest.mark.parametrize("form", ["folders", "parquet"])
def test_our_readers_read_what_is_written(make: Make, likely: str, form: str) -> None:
    out = make("faces", 20, "--format", form, "--valid", "0.25")
    train, valid = load_faces(out, "train", size=16), load_faces(out, "valid", size=16)
    assert (len(train), len(valid)) == (15, 5)
    assert {*train.labels, *valid.labels} == {int(Emotion[likely.upper()])}
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["ai_generated"] is True
    assert manifest["complete"] is True
    assert manifest["splits"] == {"train": {likely: 15}, "valid": {likely: 5}}
    assert manifest["emotions"][likely]["delivered"] == 20
    assert set(manifest["weights_sha256"]) == {"encoder", "tokenizer", "prior"}
    assert "20 grey faces" in (out / "README.md").read_text()
    assert not (out / ".work").exists()


def test_every_file_says_that_it_is_generated_and_from_which_seed(make: Make, likely: str, pipe: FacePipeline) -> None:
    out = make("faces", 3, "--seed", "5")
    pictures = sorted(out.rglob("*.png"))
    rows = (out / "faces.csv").read_text().splitlines()
    assert (len(pictures), len(rows)) == (3, 4)
    for path in pictures:
        with Image.open(path) as picture:
            assert picture.text["AI-generated"] == "true"
            assert picture.text["Seed"] == str(int(path.stem.split("-")[1]))
            assert "trainedAlgorithmicMedia" in picture.text["XML:com.adobe.xmp"]
        assert any(row.startswith(path.relative_to(out).as_posix()) for row in rows)
    (again,) = pipe(likely, 1, int(path.stem.split("-")[1]), threshold=0.0, max_tries=40, steps=2).faces
    assert np.array_equal(np.asarray(Image.open(path)), again.image)


def test_parquet_grows_group_by_group_and_holds_pictures_that_hugging_face_recognises(
    make: Make, tmp_path: Path, likely: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pyarrow.parquet as pq

    out, sizes, entries = tmp_path / "faces", list[int](), generation.dataset.files.entries

    def watched(*arguments: Any) -> Iterator[Any]:
        for entry in entries(*arguments):
            yield entry
            sizes.append(sum(path.stat().st_size for path in out.rglob("*.parquet")))

    monkeypatch.setattr(generation.dataset.files, "entries", watched)
    monkeypatch.setattr(generation.dataset.files, "ROWS_A_GROUP", 4)
    make("faces", 12, "--format", "parquet")
    assert sizes[2] < sizes[6] < sizes[10]
    file = pq.ParquetFile(out / "train.parquet")
    table = file.read()
    assert (file.num_row_groups, table.num_rows) == (3, 11)
    assert table.column("seed").to_pylist() == sorted(table.column("seed").to_pylist())
    features = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
    assert features["image"] == {"_type": "Image"}
    assert set(features) == set(table.column_names)
    assert table.column("image")[0].as_py()["path"].startswith(likely)


def test_the_pipeline_makes_the_set_of_the_command(make: Make, tmp_path: Path, likely: str, pipe: FacePipeline) -> None:
    make("command", 4, "--seed", "3", "--valid", "0.25")
    options = {"seed": 3, "valid": 0.25, "threshold": 0.0, "max_tries": 40, "steps": 2, "least_difference": 0.0}
    made = pipe.dataset(tmp_path / "python", counts={likely: 4}, **options)
    assert contents(tmp_path / "python") == contents(tmp_path / "command")
    assert made["command"].startswith("FacePipeline.dataset(")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "either per_emotion or counts"),
        ({"per_emotion": 2, "stepps": 3}, "did you mean steps"),
        ({"per_emotion": 2, "best_of": 3}, "^best_of: "),
        ({"per_emotion": 2, "intensity": 0.2}, "^intensity: "),
        ({"per_emotion": 2, "avoid": "surprise"}, "surprise is asked for and to be avoided"),
        ({"counts": {"anger": 1, "fear": 2}, "avoid": "peur"}, "fear is asked for and to be avoided"),
        ({"per_emotion": 2, "seed": 2**40 - 20}, "seed"),
    ],
)
def test_a_set_that_cannot_be_made_is_refused_before_any_work(
    pipe: FacePipeline, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        pipe.dataset(tmp_path / "wrong", **options)
    assert not (tmp_path / "wrong").exists()


def test_a_killed_run_ends_with_the_same_files(make: Make, weights: Path, tmp_path: Path, likely: str) -> None:
    asked = [*command(weights, tmp_path / "killed", likely, 600, "--format", "parquet", "--quiet")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-m", "generation.dataset", *asked], cwd=tmp_path, env=environment) as process:
        blocks = tmp_path / "killed" / ".work"
        deadline = time.monotonic() + 120
        while len(list(blocks.glob("block-*"))) < 2 and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    kept = {path.name: path.stat().st_mtime_ns for path in blocks.glob("block-*")}
    assert 2 <= len(kept) < 600 // 32
    assert not (tmp_path / "killed" / "manifest.json").exists()
    make("killed", 600, "--format", "parquet")
    make("whole", 600, "--format", "parquet")
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_a_run_that_fails_while_writing_ends_with_the_same_files(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before_each: Callable[..., None]
) -> None:
    room = iter(range(5))

    def filling_up(*_: object) -> None:
        if next(room, None) is None:
            raise UserError("the disk is full")

    with monkeypatch.context() as patch:
        before_each(generation.dataset.files, "atomic_write_bytes", filling_up, patch)
        with pytest.raises(UserError, match="disk is full"):
            make("parts", 12)
    assert len(list((tmp_path / "parts").rglob("*.png"))) == 5
    make("parts", 12)
    make("whole", 12)
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")


def test_a_folder_that_cannot_be_made_is_one_line(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before_each: Callable[..., None]
) -> None:
    with monkeypatch.context() as patch:
        in_the_way = tmp_path / "parts" / "train"
        before_each(generation.dataset.make, "write_dataset", lambda *_: in_the_way.write_text("no folder"), patch)
        with pytest.raises(UserError, match="train"):
            make("parts", 4)
    in_the_way.unlink()
    make("parts", 4)


def test_a_kill_amid_a_face_leaves_no_file_of_its_own_in_the_set(
    make: Make, weights: Path, tmp_path: Path, likely: str, forked: Callable[..., Any], before_each: Callable[..., None]
) -> None:
    written = iter(range(6))

    def die(path: Path, *_: object) -> None:
        if path.suffix == ".png" and next(written) == 5:
            with draft(path):
                os.kill(os.getpid(), signal.SIGKILL)

    def killed(_rank: int) -> None:
        before_each(generation.dataset.files, "atomic_write_bytes", die)
        main(command(weights, tmp_path / "killed", likely, 12, "--quiet"))

    assert forked(killed).wait() == [-signal.SIGKILL]
    assert [path.read_bytes() for path in (tmp_path / "killed").rglob(".*.tmp")] == [b""]
    make("killed", 12)
    make("whole", 12)
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_two_commands_do_not_make_one_set(
    make: Make, weights: Path, tmp_path: Path, likely: str, forked: Callable[..., Any], before_each: Callable[..., None]
) -> None:
    def meanwhile(*_: object) -> None:
        other = forked(lambda _rank: run(lambda _argv: main(command(weights, tmp_path / "faces", likely, 4)), []))
        other.ends_with_one_line(f"process {os.getpid()} makes a set here")

    before_each(generation.dataset.make, "write_dataset", meanwhile)
    make("faces", 4)
    assert not list((tmp_path / "faces").rglob(".*"))


def test_two_processes_make_the_set_of_one(weights: Path, tmp_path: Path, likely: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    launchers = {
        "one": [sys.executable, "-m"],
        "two": [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"],
    }
    for name, launcher in launchers.items():
        asked = ["generation.dataset", *command(weights, tmp_path / name, likely, 100)]
        done = subprocess.run([*launcher, *asked], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        assert done.stdout.count("delivered") == 1
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_the_work_is_shared(pipe: FacePipeline, likely: str, tmp_path: Path) -> None:
    class Rank:
        """One of two processes, whose partner never writes."""

        process_index, num_processes = 1, 2

        def wait_for_everyone(self) -> None:
            raise InterruptedError

    request = DatasetRequest(counts={likely: 256}, settings={"threshold": 0.0, "steps": 2, "max_tries": 1})
    with pytest.raises(InterruptedError):
        collect(pipe, request, tmp_path, Rank())  # type: ignore[arg-type]
    assert sorted(path.stem for path in tmp_path.iterdir()) == [f"block-{number:06d}" for number in (1, 3, 5, 7)]


def test_too_few_faces_are_written_and_the_exit_code_says_so(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "faces"
    hard = ["--threshold", "1", "--max-tries", "1", "--steps", "2", "--device", "cpu", "--quiet"]
    assert main(["--counts", "fear:2", "--out", str(out), "--weights", str(weights), *hard]) == INCOMPLETE_EXIT
    assert "fewer faces than asked" in capsys.readouterr().err
    row = json.loads((out / "manifest.json").read_text())["emotions"]["fear"]
    assert (row["delivered"], row["refused"], row["candidates"]) == (0, 8, 8)
    assert "Incomplete" in (out / "README.md").read_text()


def test_another_request_does_not_touch_a_set(make: Make, tmp_path: Path) -> None:
    out = make("faces", 2)
    before = contents(out)
    make("faces", 2)
    with pytest.raises(UserError, match="other settings"):
        make("faces", 3)
    assert contents(out) == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="not empty"):
        make("mine", 2)


def test_a_set_made_before_a_setting_existed_is_still_the_same_set(make: Make) -> None:
    path = make("faces", 2) / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["request"]["mark"], manifest["request"]["settings"]["precision"]
    path.write_text(json.dumps(manifest))
    make("faces", 2)
    manifest["request"]["settings"]["magic"] = 1
    for other in (manifest, []):
        path.write_text(json.dumps(other))
        with pytest.raises(UserError, match="other settings"):
            make("faces", 2)


def test_a_marked_set_shows_it_on_every_face_and_is_not_measured(make: Make, tmp_path: Path) -> None:
    from eval.faces.generated import read_set

    for name, more in (("plain", ()), ("marked", ("--mark",))):
        make(name, 3, *more)
    plain, marked = (sorted((tmp_path / name).rglob("*.png")) for name in ("plain", "marked"))
    assert [path.name for path in plain] == [path.name for path in marked]
    for one, two in zip(plain, marked, strict=True):
        before, after = (np.asarray(Image.open(path)) for path in (one, two))
        changed = before != after
        assert changed[-6:, :6].any()
        assert not changed[: len(changed) // 4].any()
    cards = [(tmp_path / name / "README.md").read_text() for name in ("plain", "marked")]
    assert ["visible mark" in card for card in cards] == [False, True]
    with pytest.raises(UserError, match="visible mark"):
        read_set(tmp_path / "marked", 16)


def test_a_damaged_block_is_named(pipe: FacePipeline, likely: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    request = DatasetRequest(counts={likely: 2}, settings={"threshold": 0.0, "steps": 2})

    def full(*_: object) -> None:
        raise UserError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(generation.dataset.files, "_write_folders", full)
        with pytest.raises(UserError, match="disk is full"):
            make_dataset(pipe, request, tmp_path / "faces")
    (block,) = (tmp_path / "faces" / ".work").glob("block-*")
    block.write_bytes(block.read_bytes()[:100])
    with pytest.raises(UserError, match="block-000000"):
        make_dataset(pipe, request, tmp_path / "faces")


def face(image: np.ndarray, seed: int) -> Face:
    return Face(image, seed, 1, Verdict((1.0, 0, 0, 0, 0, 0, 0), Emotion.ANGER, 1.0, True))


@pytest.mark.parametrize("world", [1, 2, 3, 7])
def test_processes_draw_as_many_blocks_of_every_emotion(world: int) -> None:
    # Seven emotions, of which the last are done earlier than the others: dealt in turn, one process would get the slow ones.
    wanted = [ordinal * 7 + place for ordinal in range(30) for place in range(7) if place < 3 or ordinal < 4]
    shares = [share_of(wanted, 7, rank, world) for rank in range(world)]
    assert sorted(number for share in shares for number in share) == wanted
    for place in range(7):
        counts = [sum(number % 7 == place for number in share) for share in shares]
        assert max(counts) - min(counts) <= 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--per-emotion", "0"], "between 1 and"),
        (["--per-emotion", "3", "--steps", "0"], "steps"),
        (["--counts", "fear:1", "--valid", "2"], "valid_share"),
        (["--counts", "fear:2,peur:3"], "named twice"),
        (["--counts", "fear"], "no whole number"),
        (["--counts", "fera:3"], "did you mean"),
        (["--per-emotion", "3", "--avoidance", "1"], "^--avoidance: does nothing without --not"),
    ],
)
def test_bad_commands_are_refused_before_any_work(options: list[str], words: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=words):
        main([*options, "--out", str(tmp_path / "faces")])
    assert not (tmp_path / "faces").exists()


def test_near_copies_are_those_of_a_search_one_by_one(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generation.dataset.selection, "PIECE", 7)
    request = DatasetRequest(counts={"anger": 60, "fear": 40}, least_difference=20.0)
    selection = Selection(request)
    looks = rng.integers(0, 256, (50, 16, 16)).astype(np.uint8)
    taken: list[np.ndarray] = []
    expected: list[tuple[int, int]] = []
    full, copies = dict.fromkeys(request.cells, 0), 0
    while numbers := [number for number in selection.missing() if number < 12]:
        for number in numbers:
            cell = request.cell(number)
            images = [np.clip(looks[rng.integers(50)] + rng.integers(0, 40), 0, 255).astype(np.uint8) for _ in range(32)]
            selection.add(Block(number, cell, tuple(face(image, seed) for seed, image in enumerate(images)), 32))
            for position, image in enumerate(images):
                small = thumbnails([image])[0]
                distances = [float(np.sqrt(np.square(small - other).mean())) for other in taken]
                if full[cell] == request.counts[cell.name]:
                    break
                if min(distances, default=np.inf) < 20.0:
                    copies += 1
                    continue
                taken.append(small)
                expected.append((number, position))
                full[cell] += 1
    kept = sorted(place for tally in selection.tallies.values() for place in tally.kept)
    assert kept == sorted(expected)
    assert 0 < len(kept) < 100
    assert sum(tally.duplicates for tally in selection.tallies.values()) == copies > 0
