"""A long reading in parts: by one process or several, killed and begun again, each part read once, none of other settings."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from configs.cli import UserError
from encoder import analyze
from encoder.analysis import by_parts
from encoder.analysis.inputs import Input
from encoder.analysis.parts import FILES_A_PART, Part, deal, make_parts
from encoder.detection.face import DetectedFace
from encoder.pictures.face_images import png_bytes

ROOT = Path(__file__).resolve().parents[3]
LAUNCH = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]


class OneEach:
    """A detector that finds one face in every picture."""

    def detect(self, picture: np.ndarray) -> list[DetectedFace]:
        return [DetectedFace((2, 2, 40, 40), 1.0)]


def picture(number: int) -> bytes:
    pixels = np.random.default_rng(number).integers(0, 256, (48, 48, 3)).astype(np.uint8)
    return png_bytes(pixels)


def write_tar(path: Path, names: range) -> None:
    with tarfile.open(path, "w") as tar:
        for number in names:
            member = tarfile.TarInfo(f"{number:04d}.png")
            data = picture(number)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """A Parquet file of 6 pictures, one of them broken, a Parquet file of 4 and two tars of 3."""
    folder = tmp_path / "shards"
    folder.mkdir()
    images = [picture(number) for number in range(6)]
    pq.write_table(pa.table({"image": [*images[:5], b"broken"], "id": range(6)}), folder / "a.parquet", row_group_size=2)
    pq.write_table(pa.table({"image": [picture(number) for number in range(6, 10)], "id": range(6, 10)}), folder / "b.parquet")
    write_tar(folder / "c.tar", range(10, 13))
    write_tar(folder / "d.tar", range(13, 16))
    return folder


@pytest.fixture
def run(weights: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """``run(*inputs and options)``: the command, with small weights and :class:`OneEach`."""
    monkeypatch.setattr("encoder.analysis.analyzer.create_detector", lambda name: OneEach())
    return lambda *arguments: analyze.main([*map(str, arguments), "--weights", str(weights), "--device", "cpu"])


def parts(out: Path) -> dict[str, str]:
    """The parts of a folder with their hashes."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(out.glob("part-*"))}


def manifest(out: Path) -> dict[str, Any]:
    return json.loads((out / "_manifest.json").read_text())


def rows_of(out: Path) -> pd.DataFrame:
    """All rows, as whoever reads a folder of Parquet files gets them."""
    return pd.read_parquet(out)


def test_a_folder_has_a_part_a_shard_and_a_manifest(
    run: Callable[..., int], shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "faces"
    assert run(shards, "--out", out) == 0
    content = manifest(out)
    assert [Path(part["inputs"][0]["name"]).name for part in content["parts"]] == ["a.parquet", "b.parquet", "c.tar", "d.tar"]
    assert [part["inputs"][0]["size"] for part in content["parts"]] == [path.stat().st_size for path in sorted(shards.iterdir())]
    assert {part["file"]: part["sha256"] for part in content["parts"]} == parts(out)
    assert [part["rows"] for part in content["parts"]] == [6, 4, 3, 3]
    assert (content["pictures"], content["faces"], content["problems"], content["rows"]) == (15, 15, 1, 16)
    assert content["inputs"] == {"files": 4, "bytes": sum(path.stat().st_size for path in shards.iterdir())}
    assert len(content["weights_sha256"]["encoder"]) == 64
    assert content["settings"]["min_size"] == 24
    rows = rows_of(out)
    assert len(rows) == 16
    assert rows["problem"].notna().sum() == 1
    assert "15 face(s) in 15 picture(s); 1 problem(s); 4 part(s)" in capsys.readouterr().err
    one = tmp_path / "one.parquet"
    run(shards, "--out", one)
    pd.testing.assert_frame_equal(rows, pd.read_parquet(one))


def test_a_large_parquet_file_becomes_several_parts_between_groups_of_rows(
    run: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = [np.random.default_rng(number).bytes(300_000) for number in range(12)]
    pq.write_table(pa.table({"image": noise, "id": range(12)}), tmp_path / "a.parquet", row_group_size=2)
    with pytest.raises(UserError, match="nothing could be read"):
        run(tmp_path / "a.parquet", "--out", tmp_path / "faces", "--part-size", 1, "--keep", "id")
    content = manifest(tmp_path / "faces")
    assert [part["groups"] for part in content["parts"]] == [[0, 1], [1, 2], [2, 3], [3, 4], [4, 5], [5, 6]]
    rows = rows_of(tmp_path / "faces")
    assert rows["id"].tolist() == list(range(12))
    assert [int(source.rpartition("#")[2]) for source in rows["source"]] == list(range(12))
    assert rows["id"].dtype == "int64"


def test_loose_pictures_and_videos_are_dealt_in_parts() -> None:
    names = [f"{number}.png" for number in range(FILES_A_PART + 1)]
    inputs = [*(Input(name, "file", 10) for name in names), Input("a.mp4", "file", 5), Input("b.mp4", "file", 5)]
    found = make_parts([*inputs, Input("z.png", "file", 1)], 1)
    assert [(len(part.inputs), part.size) for part in found] == [(1000, 10_000), (1, 10), (1, 5), (1, 5), (1, 1)]
    assert [part.number for part in found] == list(range(5))


@pytest.mark.parametrize("workers", [1, 2, 3, 7])
def test_parts_are_dealt_by_their_bytes(workers: int, rng: np.random.Generator) -> None:
    dealt = [Part(number, (Input("x"),), int(size)) for number, size in enumerate(rng.integers(1, 1000, 40))]
    shares = deal(dealt, workers)
    assert sorted(part.number for share in shares for part in share) == list(range(40))
    loads = [sum(part.size for part in share) for share in shares]
    assert max(loads) - min(loads) <= 1000
    # Sizes that nobody said are dealt in turn.
    even = deal([Part(number, (Input("x"),), 0) for number in range(8)], 2)
    assert [len(share) for share in even] == [4, 4]


def test_a_finished_part_is_not_read_again(
    run: Callable[..., int], shards: Path, tmp_path: Path, before_each: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, read = tmp_path / "faces", []

    def watch(_analyzer: Any, part: Part, *_: Any, **__: Any) -> None:
        if len(read) == 2:
            raise KeyboardInterrupt
        read.append(part.number)

    with monkeypatch.context() as patch:
        before_each(by_parts, "read_part", watch, patch)
        with pytest.raises(KeyboardInterrupt):
            run(shards, "--out", out)
    assert list(parts(out)) == ["part-000000.parquet", "part-000001.parquet"]
    assert not (out / "_manifest.json").exists()
    before_each(by_parts, "read_part", lambda _analyzer, part, *_, **__: read.append(part.number))
    assert run(shards, "--out", out, "--batch-size", "3", "--quiet") == 0
    assert read == [0, 1, 2, 3]
    whole, content = parts(out), manifest(out)
    assert run(shards, "--out", out) == 0
    assert read == [0, 1, 2, 3]
    assert (parts(out), manifest(out)) == (whole, content)
    # A part that was removed, or cut, is made again.
    (out / "part-000002.parquet").unlink()
    (out / "part-000003.parquet").write_bytes(b"cut")
    assert run(shards, "--out", out) == 0
    assert read == [0, 1, 2, 3, 2, 3]
    assert parts(out) == whole


def other_size(shards: Path) -> None:
    with (shards / "d.tar").open("ab") as stream:
        stream.write(bytes(512))


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (None, ["--min-size", "30"], "faces: holds parts made with settings min_size = 24, not 30; choose another --out"),
        (None, ["--landmarks"], "settings landmarks = False, not True"),
        (None, ["--keep", "id"], "settings keep = "),
        (None, ["--weights", ROOT / "pretrained" / "encoder"], "weights_sha256 encoder = "),
        (other_size, [], r"other inputs: .*d\.tar had \d+ bytes, not \d+; choose another --out"),
        (lambda shards: (shards / "c.tar").unlink(), [], r"other inputs: .*c\.tar is gone"),
        (lambda shards: write_tar(shards / "e.tar", range(2)), [], r"other inputs: .*e\.tar is new"),
    ],
)
def test_parts_of_other_settings_weights_or_inputs_are_refused(
    weights: Path, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Any, options: list[Any], message: str
) -> None:
    monkeypatch.setattr("encoder.analysis.analyzer.create_detector", lambda name: OneEach())
    asked = [str(shards), "--out", str(tmp_path / "faces"), "--weights", str(weights)]
    analyze.main(asked)
    before = parts(tmp_path / "faces")
    if change is not None:
        change(shards)
    with pytest.raises(UserError, match=message):
        analyze.main([*asked, *map(str, options)])
    assert parts(tmp_path / "faces") == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--out", "faces", "--annotate", "seen"], "goes without --camera, --annotate and --explain"),
        (["--out", "faces", "--overwrite"], "--overwrite is for tables and pictures"),
        (["--out", "faces", "--share", "3"], "--share 3: write I/N"),
        (["--out", "faces", "--share", "3/2"], "--share 3/2: write I/N"),
        (["--out", "faces.csv", "--share", "1/2"], "name a folder with --out"),
        (["--out", "memory://bucket/faces.csv"], "one table is written to disk only"),
        (["--out", "faces", "--part-size", "0"], "--part-size must be at least 1"),
        (["--out", "nowhere://bucket/faces"], "cannot be reached from here"),
        (["--out", "shards/a.parquet/faces"], "cannot be made a folder"),
        (["--out", "full"], "full: is not empty and holds no parts of this program"),
        (["absent.png", "--out", "faces"], r"absent\.png: cannot be read"),
    ],
)
def test_what_cannot_be_done_in_parts_is_refused_before_any_work(
    run: Callable[..., int], shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(by_parts, "read_part", lambda *_, **__: pytest.fail("work was begun"))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match=message):
        run(shards, *options)
    assert not (tmp_path / "faces").exists()


def test_several_processes_do_not_write_one_table(
    run: Callable[..., int], shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    for out in (["--out", str(tmp_path / "faces.csv")], []):
        with pytest.raises(UserError, match="name a folder with --out"):
            run(shards, *out)


def test_shares_of_an_array_of_jobs_make_the_whole(run: Callable[..., int], shards: Path, tmp_path: Path) -> None:
    for job in (2, 1, 3):
        assert run(shards, "--out", tmp_path / "jobs", "--share", f"{job}/3") == 0
        assert (tmp_path / "jobs" / "_manifest.json").exists() == (job == 3)
    run(shards, "--out", tmp_path / "whole")
    assert parts(tmp_path / "jobs") == parts(tmp_path / "whole")


def test_a_folder_may_be_in_other_storage(run: Callable[..., int], shards: Path, tmp_path: Path) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.store.clear()
    for path in shards.iterdir():
        memory.pipe_file(f"/in/{path.name}", path.read_bytes())
    assert run("memory://in", "--out", "memory://out/faces") == 0
    written = {name for name in memory.store if name.startswith("/out/faces/part-")}
    content = json.loads(memory.cat_file("/out/faces/_manifest.json"))
    assert written == {f"/out/faces/{part['file']}" for part in content["parts"]}
    assert [hashlib.sha256(memory.cat_file(f"/out/faces/{part['file']}")).hexdigest() for part in content["parts"]] == [
        part["sha256"] for part in content["parts"]
    ]
    assert content["rows"] == 16
    before = {name: memory.modified(name) for name in written}
    memory.rm_file("/out/faces/part-000001.parquet")
    assert run("memory://in", "--out", "memory://out/faces") == 0
    after = {name: memory.modified(name) for name in written}
    assert [name for name in sorted(written) if before[name] != after[name]] == ["/out/faces/part-000001.parquet"]
    memory.store.clear()


def test_storage_that_keeps_back_a_shard_costs_its_part_until_the_next_time(
    run: Callable[..., int], shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from engine.storage.stored_files import StoredFile

    opens = StoredFile.__init__

    def keep_back(self: StoredFile, name: str) -> None:
        if name.endswith("c.tar"):
            raise UserError(f"{name}: cannot be opened (timed out)")
        opens(self, name)

    with monkeypatch.context() as patch:
        patch.setattr(StoredFile, "__init__", keep_back)
        assert run(shards, "--out", tmp_path / "faces") == 1
        said = capsys.readouterr().err
        assert "left for another time: part-000002.parquet" in said
        assert "1 of 4 part(s) are missing, 1 of this share of them" in said
        assert "the same command makes what is missing" in said
        # Who had something to do with it says so, and who had not does not.
        codes = [run(shards, "--out", tmp_path / "faces", "--share", f"{job}/4") for job in (1, 2, 3, 4)]
        assert sorted(codes) == [0, 0, 0, 1]
        patch.setattr(by_parts, "_MOST_FAILED", 1)
        with pytest.raises(UserError, match=r"1 parts in a row could not be read; the last: .*c\.tar: cannot be opened"):
            run(shards, "--out", tmp_path / "faces")
    assert len(parts(tmp_path / "faces")) == 3
    assert run(shards, "--out", tmp_path / "faces") == 0
    assert manifest(tmp_path / "faces")["rows"] == 16


# ---- several processes


def test_two_processes_make_the_parts_of_one(
    run: Callable[..., int], shards: Path, tmp_path: Path, forked: Callable[..., Any]
) -> None:
    def main(rank: int) -> int:
        return run(shards, "--out", tmp_path / "two")

    said = forked(main, 2).ends(0, 0)
    assert said.count("15 face(s) in 15 picture(s)") == 1
    assert manifest(tmp_path / "two")["processes"] == 2
    run(shards, "--out", tmp_path / "one")
    assert parts(tmp_path / "two") == parts(tmp_path / "one")


def test_each_process_reads_its_own_parts(
    run: Callable[..., int], shards: Path, tmp_path: Path, forked: Callable[..., Any], before_each: Callable[..., None]
) -> None:
    def note(_analyzer: Any, part: Part, *_: Any, **__: Any) -> None:
        (tmp_path / f"read-{part.number}-by-{os.environ['RANK']}").touch(exist_ok=False)

    before_each(by_parts, "read_part", note)
    forked(lambda rank: run(shards, "--out", tmp_path / "two"), 2).ends(0, 0)
    read = sorted(path.name for path in tmp_path.glob("read-*"))
    assert [name[:6] for name in read] == [f"read-{number}" for number in range(4)]
    assert {name[-1] for name in read} == {"0", "1"}


def test_what_one_process_cannot_write_ends_all_with_one_line(
    run: Callable[..., int], shards: Path, tmp_path: Path, forked: Callable[..., Any], before_each: Callable[..., None]
) -> None:
    def full(*_: Any) -> None:
        if os.environ["RANK"] == "1":
            raise UserError("part: cannot be written: the disk is full")

    before_each(by_parts.PartFolder, "keep", full)

    def main(rank: int) -> None:
        from configs.cli import run as run_command

        run_command(lambda _: run(shards, "--out", tmp_path / "two"), [])

    forked(main, 2).ends_with_one_line("error: part: cannot be written: the disk is full")


def test_processes_refuse_other_settings_with_one_line(
    run: Callable[..., int], shards: Path, tmp_path: Path, forked: Callable[..., Any]
) -> None:
    run(shards, "--out", tmp_path / "faces")

    def main(rank: int) -> None:
        from configs.cli import run as run_command

        run_command(lambda _: run(shards, "--out", tmp_path / "faces", "--largest"), [])

    forked(main, 2).ends_with_one_line("error: " + f"{tmp_path / 'faces'}: holds parts made with settings largest = False")


@pytest.mark.slow
def test_two_processes_killed_over_shards_go_on_where_they_were(weights: Path, tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    folder.mkdir()
    for shard in range(8):
        write_tar(folder / f"{shard}.tar", range(40 * shard, 40 * shard + 40))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    options = ["encoder.analyze", "shards", "--detector", "haar", "--weights", str(weights), "--device", "cpu"]
    # Several parts are still to come when the first two are there.
    group = subprocess.Popen([*LAUNCH, *options, "--out", "killed"], cwd=tmp_path, env=environment, start_new_session=True)
    deadline = time.monotonic() + 200
    while len(parts(tmp_path / "killed")) < 2 and group.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    os.killpg(group.pid, signal.SIGKILL)
    group.wait()
    kept = {path: path.stat().st_mtime_ns for path in sorted((tmp_path / "killed").glob("part-*"))}
    assert 2 <= len(kept) < 8
    assert not (tmp_path / "killed" / "_manifest.json").exists()
    finished = [tmp_path / "killed" / f"{path.stem}.parquet" for path in (tmp_path / "killed" / "_work").glob("part-*")]
    for name in ("killed", "whole"):
        done = subprocess.run([*LAUNCH, *options, "--out", name], cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
        assert done.stderr.count("in 320 picture(s)") == 1
        assert manifest(tmp_path / name)["processes"] == 2
    assert len(finished) >= 1
    assert [path.stat().st_mtime_ns for path in finished] == [kept[path] for path in finished]
    assert parts(tmp_path / "killed") == parts(tmp_path / "whole")
    assert not [path for path in (tmp_path / "killed").rglob(".*") if path.stat().st_mtime_ns > max(kept.values())]
