"""Shards that were replaced, and labels and pages that are none: never old labels, and one clear line for each."""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from configs.cli import UserError
from encoder.data.face_parquet import read_parquet_split
from encoder.data.shard_writer import write_shards
from encoder.data.sharded_faces import ShardedFaces, open_shards
from encoder.pictures.face_images import png_bytes

PICTURE = png_bytes(np.zeros((16, 16), np.uint8))


def open_all(folder: Path, cache: Path) -> ShardedFaces:
    return open_shards(str(folder), "train", size=16, cache=cache)


def labels(faces: ShardedFaces) -> list[int]:
    return faces.emotions(np.arange(len(faces))).argmax(axis=1).tolist()


def write(folder: Path, emotion: int) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    write_shards(folder, "train", ((np.zeros((16, 16), np.uint8), np.eye(7)[emotion].tolist()) for _ in range(5)))


def test_a_tar_and_its_index_replaced_by_ones_of_equal_size_bring_their_labels(tmp_path: Path) -> None:
    write(tmp_path / "data", 2)
    sizes = {path.name: path.stat().st_size for path in (tmp_path / "data").iterdir()}
    before = open_all(tmp_path / "data", tmp_path / "cache")
    assert labels(before) == [2] * 5
    write(tmp_path / "data", 5)
    assert {path.name: path.stat().st_size for path in (tmp_path / "data").iterdir()} == sizes
    after = open_all(tmp_path / "data", tmp_path / "cache")
    assert labels(after) == [5] * 5
    assert before.digest != after.digest


@pytest.mark.parametrize("hide", ["times", "index"])
def test_it_is_seen_by_the_time_or_by_the_index_alone(tmp_path: Path, hide: str) -> None:
    write(tmp_path / "data", 2)
    old = {path: path.stat().st_mtime_ns for path in (tmp_path / "data").iterdir()}
    assert labels(open_all(tmp_path / "data", tmp_path / "cache")) == [2] * 5
    kept = (tmp_path / "data" / "train-000000.tar.index.json").read_bytes()
    write(tmp_path / "data", 5)
    if hide == "times":
        for path, time in old.items():
            os.utime(path, ns=(time, time))
    else:
        # The old index beside a new tar of the same size: it is older than its tar.
        index, tar = tmp_path / "data" / "train-000000.tar.index.json", tmp_path / "data" / "train-000000.tar"
        index.write_bytes(kept)
        os.utime(index, ns=(old[index], old[index]))
        os.utime(tar, ns=(old[index] + 10**9, old[index] + 10**9))
    assert labels(open_all(tmp_path / "data", tmp_path / "cache")) == [5] * 5


def test_shards_that_stay_are_looked_through_once(tmp_path: Path) -> None:
    write(tmp_path / "data", 2)
    for index in (tmp_path / "data").glob("*.index.json"):
        index.unlink()
    first = open_all(tmp_path / "data", tmp_path / "cache")
    again = open_all(tmp_path / "data", tmp_path / "cache")
    assert first.digest == again.digest
    assert len(list((tmp_path / "cache").glob("*.rows"))) == 1


# ---- labels in tars


def tar_of(path: Path, ending: str, label: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in (("1.png", PICTURE), (f"1.{ending}", label), ("2.png", PICTURE)):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


@pytest.mark.parametrize(
    "value",
    [
        "[null, 1, 0, 0, 0, 0, 0]",
        "[" + "9" * 500 + ", 0, 0, 0, 0, 0, 0]",
        "[" + "9" * 5000 + ", 0, 0, 0, 0, 0, 0]",
        "[]",
        "[[], 1, 0, 0, 0, 0, 0]",
        '["1", 0, 0, 0, 0, 0, 0]',
        "[true, 0, 0, 0, 0, 0, 0]",
        "[1e400, 0, 0, 0, 0, 0, 0]",
        "[-1, 2, 0, 0, 0, 0, 0]",
        "9" * 500,
        '{"a": 1}',
        json.dumps("line\nbreak " * 900),
        "[" * 20_000,
    ],
    ids=lambda value: value[:12],
)
def test_labels_in_a_tar_that_are_no_emotion_are_one_line(tmp_path: Path, value: str) -> None:
    tar_of(tmp_path / "data" / "train-0.tar", "json", f'{{"emotion": {value}}}'.encode())
    with pytest.raises(UserError, match=r"train-0\.tar: 1\.json") as caught:
        open_all(tmp_path / "data", tmp_path / "cache")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 700


def test_a_chain_of_headers_and_a_size_that_cannot_be_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    path = tmp_path / "data" / "train-0.tar"
    header = tarfile.TarInfo("a")
    header.type = tarfile.GNUTYPE_LONGNAME
    path.write_bytes(header.tobuf(tarfile.GNU_FORMAT) * 3000 + bytes(1024))
    with pytest.raises(UserError, match=r"^[^\n]*train-0\.tar: cannot be read as an uncompressed tar \([^\n]*\)$"):
        open_all(tmp_path / "data", tmp_path / "cache")
    picture = tarfile.TarInfo("1.png")
    picture.size = -(2**40)
    path.write_bytes(picture.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    with pytest.raises(UserError, match=r"^[^\n]*train-0\.tar[^\n]*$"):
        open_all(tmp_path / "data", tmp_path / "cache")


# ---- Parquet


def parquet(path: Path, **columns: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    images = {"image": [{"bytes": PICTURE, "path": "1.png"}] * 2}
    pq.write_table(pa.table({**images, **columns}), path)
    return path


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"votes": [[1] * 10, [1] * 9]}, "row 1: votes must be 10 counts"),
        ({"votes": [[1] * 11, None]}, "row 0: votes must be 10 counts"),
        ({"votes": pa.array([[None] * 10, None], pa.list_(pa.int16()))}, "row 0: votes must be 10 counts"),
        ({"votes": [[2**40] * 10, None]}, "row 0: votes must be 10 counts"),
        ({"votes": [[-1] * 10, None]}, "row 0: votes must be 10 counts"),
        ({"votes": ["many", None]}, "column 'votes' must be a list of integers"),
        ({"votes": [[0.5] * 10, None]}, "column 'votes' must be a list of integers"),
        ({"fer2013_label": ["happy", "sad"]}, "column 'fer2013_label' must be an integer"),
        ({"image": [1, 2]}, "column 'image' must be a struct"),
        ({"image": [{"path": "a"}] * 2}, "column 'image' must be a struct"),
        ({"image": pa.array(["a", "b"])}, "column 'image' must be a struct"),
    ],
)
def test_columns_of_a_shard_that_are_no_labels_are_one_line(tmp_path: Path, columns: dict[str, Any], words: str) -> None:
    parquet(tmp_path / "data" / "train-0.parquet", **columns)
    with pytest.raises(UserError, match=rf"^[^\n]*train-0\.parquet: {words}[^\n]*$"):
        open_all(tmp_path / "data", tmp_path / "cache")


def test_a_parquet_shard_replaced_by_one_of_equal_size_brings_its_labels(tmp_path: Path) -> None:
    path = parquet(tmp_path / "data" / "train-0.parquet", fer2013_label=[0, 0])
    size, when = path.stat().st_size, path.stat().st_mtime_ns
    before = open_all(tmp_path / "data", tmp_path / "cache")
    old = labels(before)
    parquet(path, fer2013_label=[5, 5])
    os.utime(path, ns=(when + 1, when + 1))
    assert path.stat().st_size == size
    after = open_all(tmp_path / "data", tmp_path / "cache")
    assert before.digest != after.digest
    assert set(labels(after)).isdisjoint(old)


def test_labels_beyond_the_seven_and_nulls_are_unknown_and_pictures_may_be_plain_bytes(tmp_path: Path) -> None:
    parquet(tmp_path / "data" / "train-0.parquet", fer2013_label=[2**60, None], image=[PICTURE] * 2)
    faces = open_all(tmp_path / "data", tmp_path / "cache")
    assert not faces.emotions(np.arange(2)).any()
    assert faces.read(np.arange(2)).shape == (2, 16, 16)


def test_every_broken_page_is_one_line(tmp_path: Path, rng: np.random.Generator) -> None:
    path = parquet(tmp_path / "data" / "train-0.parquet", fer2013_label=[1, 2], votes=[[1] * 10, None])
    whole = path.read_bytes()
    refused: list[str] = []
    for number in range(60):
        broken = bytearray(whole)
        for place in rng.integers(4, len(whole) - 8, 3):
            broken[place] = rng.integers(256)
        path.write_bytes(bytes(broken[: rng.integers(9, len(whole))]) if number % 4 == 0 else bytes(broken))
        for read in (
            lambda number=number: open_all(tmp_path / "data", tmp_path / f"cache{number}").read(np.arange(1)),
            lambda: read_parquet_split(path, on_error="refuse", size=16),
        ):
            try:
                read()
            except UserError as error:
                refused.append(str(error))
    assert refused
    assert not [line for line in refused if "\n" in line]
