"""Pictures in Parquet files and tars, on disk and in other storage: every one read, every damage told, memory bounded."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from configs.cli import UserError
from encoder import analyze
from encoder.analysis.columns import Columns, parse_keep
from encoder.analysis.inputs import Input, find_inputs
from encoder.analysis.shard_views import view_inputs, view_parquet, view_tar
from encoder.detection.face import DetectedFace
from encoder.pictures.face_images import png_bytes
from engine.storage.stored_files import StoredFile


class OneEach:
    """A detector that finds one face in every picture whose first pixel is not black."""

    def detect(self, picture: np.ndarray) -> list[DetectedFace]:
        return [DetectedFace((2, 2, 40, 40), 1.0)] if picture[0, 0].any() else []


def picture(number: int) -> bytes:
    """A picture that is like no other."""
    pixels = np.random.default_rng(number).integers(1, 256, (48, 48, 3)).astype(np.uint8)
    return png_bytes(pixels)


def write_tar(path: Path | io.BytesIO, members: Sequence[tuple[str, bytes]]) -> None:
    target: dict[str, Any] = {"fileobj": path} if isinstance(path, io.BytesIO) else {"name": path}
    with tarfile.open(mode="w", **target) as tar:
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def write_parquet(path: Path, count: int, start: int = 0, group: int = 4, **columns: Sequence[Any]) -> None:
    images = [{"bytes": picture(start + number), "path": f"{number}.png"} for number in range(count)]
    table = pa.table({"image": images, "id": pa.array(range(start, start + count), pa.uint64()), **columns})
    pq.write_table(table, path, row_group_size=group)


@pytest.fixture
def run(weights: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """``run(*inputs and options)``: the command, with small weights and :class:`OneEach`."""
    monkeypatch.setattr("encoder.analysis.analyzer.create_detector", lambda name: OneEach())
    return lambda *arguments: analyze.main([*map(str, arguments), "--weights", str(weights), "--device", "cpu", "--quiet"])


@pytest.fixture
def memory() -> Iterator[Any]:
    """An empty storage that is no disk."""
    import fsspec

    filesystem = fsspec.filesystem("memory")
    filesystem.store.clear()
    filesystem.pseudo_dirs[:] = [""]
    yield filesystem
    filesystem.store.clear()


def test_parquet_rows_keep_their_ids_and_broken_ones_say_what_is_wrong(run: Callable[..., int], tmp_path: Path) -> None:
    good = picture(0)
    values = [good, None, good[: len(good) // 2], b"text", good]
    ids = pa.array([2**63, 1, 2, 3, 4], pa.uint64())
    pq.write_table(pa.table({"photo": values, "id": ids, "emotion": list("abcde")}), tmp_path / "shard.parquet")
    out = tmp_path / "faces.parquet"
    options = ("--image-column", "photo", "--keep", "id", "--keep", "emotion=label", "--out", out)
    assert run(tmp_path / "shard.parquet", *options) == 1
    table = pq.read_table(out)
    assert table.column_names[:3] == ["source", "id", "label"]
    assert table.column("id").to_pylist() == ids.to_pylist()
    assert table.column("label").to_pylist() == list("abcde")
    assert [Path(source).name for source in table.column("source").to_pylist()] == [f"shard.parquet#{row}" for row in range(5)]
    problems = table.column("problem").to_pylist()
    assert [problems[row] for row in (0, 1, 4)] == [None, "holds no picture", None]
    assert problems[2].startswith("cannot be decoded")
    assert problems[3].startswith("not an image in one of the formats")


def test_tar_samples_keep_what_stands_beside_their_pictures(run: Callable[..., int], tmp_path: Path) -> None:
    note = json.dumps({"id": 7, "tags": ["a", "b"]}).encode()
    write_tar(
        tmp_path / "shard.tar",
        [
            *[("deep/0001.jpg", picture(1)), ("deep/0001.cls", b"3\n"), ("deep/0001.json", note)],
            *[("deep/0002.json", b"not json"), ("deep/0002.PNG", picture(2)), ("deep/._0002.png", b"a Mac wrote this")],
            *[("0003.left.png", picture(3)), ("0003.right.png", b"broken"), ("0003.txt", b"both")],
        ],
    )
    out = tmp_path / "faces.jsonl"
    keep = [word for name in ("__key__=key", "cls", "id", "tags") for word in ("--keep", name)]
    assert run(tmp_path / "shard.tar", *keep, "--out", out) == 1
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["source"].partition("#")[2] for row in rows] == [
        *("deep/0001.jpg", "deep/0002.PNG", "0003.left.png", "0003.right.png")
    ]
    assert [row["key"] for row in rows] == ["deep/0001", "deep/0002", "0003", "0003"]
    assert [(row["cls"], row["id"], row["tags"]) for row in rows[:2]] == [("3", "7", '["a", "b"]'), (None, None, None)]
    assert [row["problem"] is None for row in rows] == [True, True, True, False]


def cut(data: bytes, place: str) -> bytes:
    second = data.index(b"0002.png")
    third = data.index(b"0003.png")
    return {
        "inside a picture": data[: second + 512 + 100],
        "between two members": data[:third],
        "a header that was overwritten": data[:third] + b"\xff" * 512 + data[third + 512 :],
        "the mark of its end": data[: third + 512 + 8 * 512],
    }[place]


@pytest.mark.parametrize(
    ("place", "read"),
    [("inside a picture", 1), ("between two members", 2), ("a header that was overwritten", 2), ("the mark of its end", 3)],
)
def test_a_tar_that_was_cut_off_or_damaged_gives_what_is_whole_and_says_so(tmp_path: Path, place: str, read: int) -> None:
    stream = io.BytesIO()
    # Pictures of eight blocks each, so that the third one ends where a block does.
    members = [(f"000{number}.png", picture(number)[:10].ljust(8 * 512, b"\0")) for number in (1, 2, 3)]
    write_tar(stream, members)
    (tmp_path / "cut.tar").write_bytes(cut(stream.getvalue(), place))
    views = list(view_tar(str(tmp_path / "cut.tar"), Columns()))
    assert len(views) == read + 1
    assert [view.source.partition("#")[2] for view in views[:-1]] == [f"000{number}.png" for number in range(1, read + 1)]
    assert views[-1].source == str(tmp_path / "cut.tar")
    assert (views[-1].problem or "").startswith(f"damaged after {read} pictures")


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.tar", b"", "cannot be read as an uncompressed tar"),
        ("a.tar", b"\x1f\x8b" + bytes(range(256)) * 9, "cannot be read as an uncompressed tar"),
        ("a.parquet", b"", "cannot be read as Parquet"),
        ("a.parquet", b"PAR1 and nothing else PAR1", "cannot be read as Parquet"),
    ],
)
def test_a_shard_that_is_none_is_one_problem(tmp_path: Path, name: str, data: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(data)
    (view,) = view_inputs(find_inputs([tmp_path / name]).inputs, Columns())
    assert words in (view.problem or "")


def test_a_tar_without_pictures_says_so(tmp_path: Path) -> None:
    write_tar(tmp_path / "notes.tar", [("a.txt", b"text")])
    (view,) = view_tar(str(tmp_path / "notes.tar"), Columns())
    assert (view.problem or "").startswith("holds no picture")


def test_a_damaged_group_of_rows_costs_that_group(tmp_path: Path) -> None:
    path = tmp_path / "shard.parquet"
    images = pa.array([picture(number) for number in range(12)])
    pq.write_table(pa.table({"image": images}), path, row_group_size=4, compression="zstd", use_dictionary=False)
    start = pq.ParquetFile(path).metadata.row_group(1).column(0).data_page_offset
    data = bytearray(path.read_bytes())
    data[start : start + 200] = b"\xff" * 200
    path.write_bytes(data)
    views = list(view_parquet(str(path), Columns()))
    assert [view.source.partition("#")[2] for view in views] == ["0", "1", "2", "3", "4", "8", "9", "10", "11"]
    assert [view.picture is None for view in views] == [False] * 4 + [True] + [False] * 4
    assert (views[4].problem or "").startswith("rows 4 to 7 cannot be read")


def test_a_group_of_rows_is_not_held_whole(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).bytes(2**20)
    path = tmp_path / "large.parquet"
    table = pa.table({"image": [{"bytes": noise, "path": "x"}] * 96})
    # pyarrow looks at the size of a page once in so many rows.
    pq.write_table(table, path, row_group_size=96, compression="none", use_dictionary=False, write_batch_size=4)
    before, held = pa.total_allocated_bytes(), []
    for _ in view_parquet(str(path), Columns()):
        held.append(pa.total_allocated_bytes() - before)
    assert len(held) == 96
    assert 0 < max(held) < 24 * 2**20


@pytest.mark.parametrize("name", ["a.parquet", "b.tar"])
def test_storage_that_fails_is_no_damage(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write_parquet(tmp_path / "a.parquet", 8)
    write_tar(tmp_path / "b.tar", [(f"{number}.png", picture(number)) for number in range(8)])
    inputs, reads, done = find_inputs([tmp_path / name]).inputs, StoredFile.read, 0
    limit = float("inf")

    def read(self: StoredFile, size: int = -1) -> bytes:
        nonlocal done
        done += 1
        if done >= limit:
            self._stream.close()  # the next read is of a stream that is gone
        return reads(self, size)

    monkeypatch.setattr(StoredFile, "read", read)
    assert len(list(view_inputs(inputs, Columns()))) == 8
    limit, done = done, 0
    with pytest.raises(UserError, match=f"{name}: cannot be read"):
        list(view_inputs(inputs, Columns()))


def test_storage_that_is_no_disk_is_read_as_a_disk_is(run: Callable[..., int], tmp_path: Path, memory: Any) -> None:
    write_parquet(tmp_path / "a.parquet", 6)
    write_tar(tmp_path / "b.tar", [("0.png", picture(6)), ("1.png", b"broken")])
    (tmp_path / "c[1].png").write_bytes(picture(7))
    (tmp_path / "notes.txt").write_text("not looked at")
    for path in tmp_path.iterdir():
        memory.pipe_file(f"/bucket/deep/{path.name}", path.read_bytes())
    found = find_inputs(["memory://bucket"])
    assert [(Path(each.name).name, each.form) for each in found.inputs] == [
        *(("a.parquet", "parquet"), ("b.tar", "tar"), ("c[1].png", "file"))
    ]
    assert found.ignored == 1
    assert all(each.size == (tmp_path / Path(each.name).name).stat().st_size for each in found.inputs)
    assert run("memory://bucket", "--out", tmp_path / "far.csv") == 1
    assert run(*(tmp_path / Path(each.name).name for each in found.inputs), "--out", tmp_path / "near.csv") == 1
    far, near = (pd.read_csv(tmp_path / name) for name in ("far.csv", "near.csv"))
    far["source"], near["source"] = ([source.rpartition("/")[2] for source in table["source"]] for table in (far, near))
    pd.testing.assert_frame_equal(far, near)
    assert [each.name.rpartition("/")[2] for each in find_inputs(["memory://bucket/*/*.tar"]).inputs] == ["b.tar"]
    assert len(find_inputs(["memory://bucket", "memory://bucket/deep/b.tar"]).inputs) == 3


def test_a_folder_of_pictures_stays_one_of_pictures(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    write_parquet(tmp_path / "photos" / "faces.parquet", 1)
    assert find_inputs([tmp_path / "photos"]).inputs == (Input(str(tmp_path / "photos" / "faces.parquet"), "parquet"),)
    (tmp_path / "photos" / "a.png").write_bytes(picture(0))
    found = find_inputs([tmp_path / "photos"])
    assert found.inputs == (Input(str(tmp_path / "photos" / "a.png")),)
    assert found.ignored == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--image-column", "photo"], "a.parquet: no column 'photo'; it has image, id, many"),
        (["--image-column", "id"], "column 'id' is uint64; pictures are bytes"),
        (["--keep", "name"], "no column 'name'"),
        (["--keep", "many"], "column 'many' is list"),
        (["--keep", "id=emotion"], "the table has a column emotion of its own"),
        (["--keep", "id", "--keep", "id"], "kept twice"),
        (["--keep", "=x"], "no name"),
    ],
)
def test_columns_that_are_not_there_are_refused(
    run: Callable[..., int], tmp_path: Path, options: list[str], message: str
) -> None:
    write_parquet(tmp_path / "a.parquet", 2, many=[[1], [2]])
    for out in ("faces.csv", "parts/"):
        with pytest.raises(UserError, match=message):
            run(tmp_path / "a.parquet", *options, "--out", f"{tmp_path}/{out}")
        assert not (tmp_path / out).exists()


def test_what_only_shards_have_is_refused_of_others(run: Callable[..., int], tmp_path: Path, memory: Any) -> None:
    (tmp_path / "a.png").write_bytes(picture(0))
    write_tar(tmp_path / "b.tar", [("0.png", picture(6)), ("0.json", b'{"id": 1}')])
    with pytest.raises(UserError, match="only Parquet files and tars"):
        run(tmp_path / "a.png", "--keep", "id")
    with pytest.raises(UserError, match="its first sample has no name"):
        run(tmp_path / "b.tar", "--keep", "id", "--keep", "name")
    for url in ("memory://nothing/", "memory://nothing/*.tar"):
        with pytest.raises(UserError, match="no picture and no shard"):
            find_inputs([url])
    with pytest.raises(UserError, match=r"memory://nothing/a\.tar: cannot be read"):
        find_inputs(["memory://nothing/a.tar"])
    with pytest.raises(UserError, match="nowhere://bucket: cannot be reached from here"):
        find_inputs(["nowhere://bucket"])


def test_names_of_kept_columns() -> None:
    assert parse_keep(["id", "emotion=label"], ["emotion"]) == {"id": "id", "emotion": "label"}
