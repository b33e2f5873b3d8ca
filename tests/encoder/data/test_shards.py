"""Faces in shards: every form that people keep them in, read by number, in memory that does not grow."""

from __future__ import annotations

import io
import json
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import encoder.data.shard_index as shard_index
from configs.cli import UserError
from encoder.data.shard_files import ShardFiles
from encoder.data.shard_writer import write_shards
from encoder.data.sharded_faces import ShardedFaces, open_shards
from encoder.pictures.face_images import png_bytes
from encoder.shard import main
from engine.training.batch_stream import BatchStream
from engine.training.batches import GlobalBatches

SIZE = 16


def face(number: int) -> np.ndarray:
    """A face whose pixels say its number."""
    pixels = np.random.default_rng(number).integers(0, 256, (SIZE, SIZE), dtype=np.uint8)
    pixels.ravel()[:4] = np.frombuffer(np.uint32(number).tobytes(), np.uint8)
    return pixels


def number_of(pixels: np.ndarray) -> int:
    return int(np.frombuffer(pixels.ravel()[:4].tobytes(), np.uint32)[0])


def emotion(number: int) -> list[float]:
    return [0.0] * 7 if number % 8 == 7 else np.eye(7)[number % 8].tolist()


def write(folder: Path, count: int, per_shard: int = 8, name: str = "train") -> None:
    write_shards(folder, name, ((face(n), emotion(n)) for n in range(count)), per_shard=per_shard)


def add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def web_dataset(path: Path, first: int, count: int) -> None:
    """As WebDataset writes: picture, class and other members of each sample; folders in the names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for number in range(first, first + count):
            add(tar, f"part.1/{number:06d}.txt", b"a caption")
            add(tar, f"part.1/{number:06d}.png", png_bytes(face(number)))
            add(tar, f"part.1/{number:06d}.cls", str(number % 7).encode())


def open_all(folder: Path | str, cache: Path, split: Any = "train", **options: Any) -> ShardedFaces:
    return open_shards(str(folder), split, size=SIZE, cache=cache, **options)


def everything(faces: ShardedFaces) -> list[int]:
    return [number_of(pixels) for pixels in faces.read(np.arange(len(faces)))]


def test_faces_and_emotions_come_back_by_number(tmp_path: Path, rng: np.random.Generator) -> None:
    write(tmp_path / "data", 37)
    write(tmp_path / "data", 5, name="valid")
    faces = open_all(tmp_path / "data", tmp_path / "cache")
    assert len(faces) == 37
    assert len(open_all(tmp_path / "data", tmp_path / "cache", "valid")) == 5
    index = rng.integers(0, 37, 50)
    for number, pixels, known in zip(index, faces.read(index), faces.emotions(index), strict=True):
        assert np.array_equal(pixels, face(int(number)))
        assert known.tolist() == emotion(int(number))


def test_webdataset_tars_are_read_as_they_are_and_indexed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for shard in range(3):
        web_dataset(tmp_path / "data" / f"{shard:04d}.tar", 20 * shard, 20)
    before = {path: path.read_bytes() for path in (tmp_path / "data").iterdir()}
    train, valid = (open_all(tmp_path / "data", tmp_path / "cache", split) for split in ("train", "valid"))
    assert sorted(everything(train) + everything(valid)) == list(range(60))
    assert len(valid) == 3
    assert train.emotions(np.array([0])).argmax() == number_of(train.read(np.array([0]))[0]) % 7
    assert all(path.read_bytes() == data for path, data in before.items())
    assert len(list((tmp_path / "data").glob("*.index.json"))) == 3
    monkeypatch.setattr(shard_index, "tar_samples", lambda *_: pytest.fail("scanned again"))
    assert everything(open_all(tmp_path / "data", tmp_path / "another cache")) == everything(train)


@pytest.mark.parametrize("harm", ["replaced tar", "no JSON", "outside", "another format"])
def test_an_index_that_does_not_fit_is_made_again(tmp_path: Path, harm: str) -> None:
    path = tmp_path / "data" / "train-0.tar"
    web_dataset(path, 0, 12)
    open_all(tmp_path / "data", tmp_path / "cache")
    index = path.with_name(path.name + ".index.json")
    content = json.loads(index.read_text())
    if harm == "replaced tar":
        web_dataset(path, 100, 15)
    elif harm == "no JSON":
        index.write_text("{")
    elif harm == "outside":
        index.write_text(json.dumps({**content, "samples": [[10**9, 5, 0]]}))
    else:
        index.write_text(json.dumps({**content, "format_version": 99}))
    expected = range(100, 115) if harm == "replaced tar" else range(12)
    assert everything(open_all(tmp_path / "data", tmp_path / "new cache")) == list(expected)


def parquet(path: Path, first: int, count: int, group: int) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    numbers = range(first, first + count)
    table = pa.table(
        {
            "image": [{"bytes": png_bytes(face(number)), "path": "x.png"} for number in numbers],
            "fer2013_label": pa.array([number % 7 if number % 2 else None for number in numbers], pa.int8()),
        }
    )
    pq.write_table(table, path, row_group_size=group)


def test_parquet_is_read_by_row_a_group_at_a_time(tmp_path: Path, rng: np.random.Generator) -> None:
    for shard in range(3):
        parquet(tmp_path / "data" / "train" / f"{shard}.parquet", 20 * shard, 20, group=6)
    parquet(tmp_path / "data" / "valid" / "0.parquet", 60, 5, group=6)
    faces = open_all(tmp_path / "data", tmp_path / "cache")
    index = rng.integers(0, 60, 40)
    assert [number_of(pixels) for pixels in faces.read(index)] == index.tolist()
    for number, known in zip(index, faces.emotions(index), strict=True):
        assert known.tolist() == (np.eye(7)[number % 7].tolist() if number % 2 else [0.0] * 7)


def test_shards_behind_a_url_are_read_by_ranges(tmp_path: Path, rng: np.random.Generator) -> None:
    import fsspec

    write(tmp_path / "data", 30)
    web_dataset(tmp_path / "data" / "train-foreign.tar", 30, 10)
    place = f"memory://shards-{int(rng.integers(2**60))}"
    filesystem, root = fsspec.core.url_to_fs(place)
    for path in (tmp_path / "data").iterdir():
        filesystem.pipe(f"{root}/sub/{path.name}", path.read_bytes())
    faces = open_all(place, tmp_path / "cache")
    assert faces.remote
    assert everything(faces) == list(range(40))
    # Nothing is written to the store; the index of the foreign tar is in the cache.
    assert len(filesystem.find(root)) == 4 + 4 + 1
    assert len(list((tmp_path / "cache").glob("*.index.json"))) == 1


@settings(max_examples=15)
@given(
    count=st.integers(1, 60),
    per_shard=st.integers(1, 25),
    share=st.integers(1, 6),
    world=st.integers(1, 3),
    block=st.sampled_from([0, 4]),
    seed=st.integers(0, 2**40),
    resumed_at=st.integers(0, 40),
)
def test_ranks_read_every_face_once_an_epoch_wherever_they_resume(
    tmp_path_factory: pytest.TempPathFactory,
    count: int,
    per_shard: int,
    share: int,
    world: int,
    block: int,
    seed: int,
    resumed_at: int,
) -> None:
    folder = tmp_path_factory.mktemp("shards")
    write(folder, count, per_shard)
    faces = open_all(folder, folder / "cache")
    steps = GlobalBatches(count, share * world, seed=seed).steps_per_epoch
    first = resumed_at // steps * steps
    seen: list[int] = []
    for rank in range(world):

        def stream(step: int, rank: int = rank) -> list[int]:
            # Objects of their own, as after a restart of the program in the middle of the epoch.
            batches = GlobalBatches(count, share * world, seed=seed, rank=rank, world=world, block=block)
            return [number_of(pixels) for pixels in faces.read(batches(step)[1])]

        whole = [stream(step) for step in range(first, first + steps)]
        assert whole[resumed_at - first :] == [stream(step) for step in range(resumed_at, first + steps)]
        seen += [number for batch in whole for number in batch]
    counts = np.bincount(seen, minlength=count)
    if share * world <= count:
        assert counts.max() == 1
        assert count - counts.sum() < share * world
    else:
        assert counts.max() - counts.min() <= 1


class Batches:
    """What a worker process is sent."""

    def __init__(self, faces: ShardedFaces, batches: GlobalBatches) -> None:
        self.faces, self.batches = faces, batches

    def __call__(self, step: int) -> tuple[np.ndarray, ...]:
        epoch, index = self.batches(step)
        return self.faces.read(index), index, np.array([epoch, step])


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize("block", [0, 8])
def test_workers_change_nothing_and_a_resume_in_mid_epoch_skips_and_repeats_nothing(tmp_path: Path, block: int) -> None:
    write(tmp_path, 41)
    faces = open_all(tmp_path, tmp_path / "cache")
    for rank in range(2):
        make = Batches(faces, GlobalBatches(41, 6, seed=5, rank=rank, world=2, block=block))
        alone, helped = BatchStream(make, 0), BatchStream(make, 2)
        order = [*range(14), *range(4, 9)]
        for step in order:
            for one, other in zip(alone(step), helped(step), strict=True):
                assert np.array_equal(one.numpy(), other.numpy())
        helped.close()


def test_what_workers_are_sent_does_not_hold_the_table(tmp_path: Path) -> None:
    from multiprocessing.reduction import ForkingPickler

    write(tmp_path, 400, per_shard=400)
    faces = open_all(tmp_path, tmp_path / "cache")
    faces.read(np.arange(5))
    assert len(ForkingPickler.dumps(Batches(faces, GlobalBatches(400, 4, seed=0)))) < 4000


def test_memory_does_not_grow_with_the_data(tmp_path: Path) -> None:
    peaks = []
    for name, count in (("small", 200), ("large", 2000)):
        write(tmp_path / name, count, per_shard=100)
        open_all(tmp_path / name, tmp_path / "cache")  # the index
        tracemalloc.start()
        faces = open_all(tmp_path / name, tmp_path / "cache")
        batches = GlobalBatches(len(faces), 16, seed=1, block=32)
        for step in range(15):
            faces.read(batches(step)[1])
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert peaks[-1] < 200_000
    # The names of ten times as many shards, and no more.
    assert peaks[1] < 1.5 * peaks[0] + 30_000


def test_blocks_are_fetched_whole_and_once_an_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, 203, per_shard=50)
    faces = open_all(tmp_path, tmp_path / "cache", block=8)
    asked: list[tuple[str, int, int]] = []
    original = ShardFiles.read

    def counted(self: ShardFiles, ranges: Any) -> list[bytes]:
        wanted = list(ranges)
        asked.extend(wanted)
        return original(self, wanted)

    monkeypatch.setattr(ShardFiles, "read", counted)
    batches = GlobalBatches(203, 29, seed=4, block=8, window=4)
    seen = [number_of(pixels) for step in range(7) for pixels in faces.read(batches(step)[1])]
    assert sorted(seen) == list(range(203))
    # 26 blocks, of which those around 50, 100 and 150 lie in two shards each.
    assert len(asked) == len(set(asked)) == 29


def test_a_bad_picture_is_refused_by_place_or_replaced_by_the_next(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "train-0.tar", "w") as tar:
        for number in range(6):
            add(tar, f"{number}.png", b"\x89PNG nonsense" if number in (2, 3) else png_bytes(face(number)))
    with pytest.raises(UserError, match=r"train-0.tar: the picture at \d+ \(number 2\): .* faces.on_error=skip"):
        everything(open_all(tmp_path, tmp_path / "cache"))
    assert everything(open_all(tmp_path, tmp_path / "cache", skip=True)) == [0, 1, 4, 4, 4, 5]


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_a_bad_picture_is_one_line_from_a_worker_too(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "train-0.tar", "w") as tar:
        add(tar, "0.png", b"\x89PNG nonsense")
    stream = BatchStream(Batches(open_all(tmp_path, tmp_path / "cache"), GlobalBatches(1, 1, seed=0)), 1)
    with pytest.raises(UserError, match=r"^[^\n]*train-0.tar: the picture at [^\n]*$"):
        stream(0)
    stream.close()


def truncated(path: Path) -> None:
    web_dataset(path, 0, 9)
    path.write_bytes(path.read_bytes()[:-12000])


def compressed(path: Path) -> None:
    with tarfile.open(path, "w:gz") as tar:
        add(tar, "1.png", png_bytes(face(1)))


def bad_label(path: Path) -> None:
    with tarfile.open(path, "w") as tar:
        add(tar, "1.png", png_bytes(face(1)))
        add(tar, "1.cls", b"12")


def no_pictures(path: Path) -> None:
    with tarfile.open(path, "w") as tar:
        add(tar, "1.txt", b"hello")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (truncated, "it does not end like one; copy it anew"),
        (compressed, "cannot be read as an uncompressed tar"),
        (bad_label, "1.cls: holds no emotion"),
        (no_pictures, "no picture in them"),
        (lambda path: path.write_bytes(b""), "no picture in them|cannot be read"),
    ],
)
def test_shards_that_cannot_be_used_are_one_line(tmp_path: Path, make: Callable[[Path], None], message: str) -> None:
    make(tmp_path / "train-0.tar")
    with pytest.raises(UserError, match=message):
        open_all(tmp_path, tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("*.rows"))


def test_a_shard_that_is_cut_off_later_is_one_line(tmp_path: Path) -> None:
    write(tmp_path, 10, per_shard=10)
    faces = open_all(tmp_path, tmp_path / "cache")
    path = tmp_path / "train-000000.tar"
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(UserError, match=r"train-000000.tar: ends before byte"):
        everything(faces)


def test_places_without_shards_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        open_all(tmp_path / "absent", tmp_path)
    with pytest.raises(UserError, match="holds no shards"):
        open_all(tmp_path, tmp_path)
    with pytest.raises(UserError, match="cannot be read here"):
        ShardFiles("nosuchprotocol://bucket/faces").find([".tar"])
    write(tmp_path / "data", 9)
    with pytest.raises(UserError, match="none of valid"):
        open_all(tmp_path / "data", tmp_path, "valid")


def test_the_command_writes_both_splits_and_overwrites_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["drawn", "--count", "70", "--size", "32", "--per-shard", "30", "--out", str(tmp_path / "data")]
    assert main(command) == 0
    out = capsys.readouterr().out
    assert "train: 70 faces in 3 shard(s)" in out
    assert "valid: 64 faces in 3 shard(s)" in out
    faces = open_shards(str(tmp_path / "data"), "train", size=32, cache=tmp_path)
    assert len(faces) == 70
    assert np.bincount(faces.emotions(np.arange(70)).argmax(axis=1)).tolist() == [10] * 7
    with pytest.raises(UserError, match="exists already"):
        main(command)
    with pytest.raises(UserError, match="--per-shard: must be positive"):
        main([*command, "--per-shard", "0"])


@pytest.mark.slow
def test_workers_that_are_new_interpreters_make_the_same_batches(tmp_path: Path) -> None:
    from vqvae.faces import FaceBatches, TrainingShards

    write(tmp_path, 30)
    # Of the program itself: a new interpreter cannot import what a test defines.
    shards = TrainingShards(open_all(tmp_path, tmp_path / "cache"), "drawn")
    make = FaceBatches(shards, GlobalBatches(30, 7, seed=1), 1, 5)
    alone, fresh = BatchStream(make, 0), BatchStream(make, 1, fresh=True)
    for step in range(3):
        assert np.array_equal(alone(step)[0].numpy(), fresh(step)[0].numpy())
    fresh.close()
