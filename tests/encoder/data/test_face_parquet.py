"""Parquet with an image column, one file per split; and faces128, divided by person."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from configs.cli import UserError
from encoder.data.face_parquet import write_parquet_splits
from encoder.data.load import identity_split, load_faces, load_faces128
from encoder.emotions import Emotion
from encoder.pictures.face_images import png_bytes

FEAR_VOTES = [0, 0, 0, 0, 0, 0, 9, 0, 0, 1]


def record(face: np.ndarray, row: int = 0, label: int | None = 2, votes: list[int] | None = FEAR_VOTES) -> dict[str, Any]:
    return {"row": row, "fer2013_label": label, "votes": votes, "image": {"bytes": png_bytes(face), "path": "/etc/passwd"}}


def write(path: Path, records: list[dict[str, Any]]) -> Path:
    pq.write_table(pa.Table.from_pylist(records), path)
    return path


def random_faces(rng: np.random.Generator, count: int, size: int = 48) -> np.ndarray:
    return rng.integers(0, 256, (count, size, size), dtype=np.uint8)


def test_every_row_comes_back_with_its_labels_in_any_order(tmp_path: Path, rng: np.random.Generator) -> None:
    faces = random_faces(rng, 40)
    label_of = {face.tobytes(): row % 7 for row, face in enumerate(faces)}
    order = rng.permutation(len(faces)).tolist()
    write(tmp_path / "train.parquet", [record(faces[row], row, row % 7) for row in order])
    found = load_faces(tmp_path, "train")
    assert found.ids == tuple(f"fer{row:07d}" for row in order)
    assert [label_of[image.tobytes()] for image in found.images] == found.labels.tolist()
    assert (found.majority() == Emotion.FEAR).all()
    assert found.source == "fer2013"


def test_unknown_labels_and_missing_votes_are_read_as_such(tmp_path: Path, rng: np.random.Generator) -> None:
    face = random_faces(rng, 1)[0]
    write(tmp_path / "test.parquet", [record(face, 0, None, None), record(face, 1, 4, None), record(face, 2, None)])
    found = load_faces(tmp_path, "test")
    assert found.labels.tolist() == [-1, 4, -1]
    assert found.distributions().sum(axis=1).tolist() == [0, 1, 1]


def test_what_is_written_is_read_back_the_same(tmp_path: Path, rng: np.random.Generator) -> None:
    faces = random_faces(rng, 5)
    votes = [FEAR_VOTES, None, [1, 2, 3, 4, 0, 0, 0, 0, 0, 0], [0] * 10, None]
    labels = [0, None, 6, 3, 1]
    rows = zip(range(5), faces, labels, votes, strict=True)
    write(tmp_path / "train.parquet", [record(face, row, label, vote) for row, face, label, vote in rows])
    first = load_faces(tmp_path, "train")
    out = tmp_path / "out"
    assert write_parquet_splits(out, {"train": first}) == [out / "train.parquet"]
    assert [path.name for path in out.iterdir()] == ["train.parquet"]
    again = load_faces(out, "train")
    assert np.array_equal(first.images, again.images)
    assert np.array_equal(first.labels, again.labels)
    assert np.array_equal(first.votes, again.votes)
    assert (first.ids, first.source) == (again.ids, again.source)


def test_names_of_other_data_sets_survive_writing(tmp_path: Path, rng: np.random.Generator) -> None:
    (tmp_path / "train" / "sad").mkdir(parents=True)
    (tmp_path / "train" / "sad" / "x.png").write_bytes(png_bytes(random_faces(rng, 1)[0]))
    (tmp_path / "valid" / "sad").mkdir(parents=True)
    write_parquet_splits(tmp_path / "out", {"train": load_faces(tmp_path, "train")})
    again = load_faces(tmp_path / "out", "train")
    assert again.ids == ("train/sad/x.png",)
    assert again.source == "out"


def test_nothing_is_overwritten(tmp_path: Path, rng: np.random.Generator) -> None:
    write(tmp_path / "train.parquet", [record(random_faces(rng, 1)[0])])
    before = (tmp_path / "train.parquet").read_bytes()
    with pytest.raises(UserError, match="exists already"):
        write_parquet_splits(tmp_path, {"train": load_faces(tmp_path, "train")})
    assert (tmp_path / "train.parquet").read_bytes() == before


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"fer2013_label": 7}, "label 7"),
        ({"fer2013_label": -1}, "label -1"),
        ({"votes": [0] * 9}, "10 counts"),
        ({"votes": [-1] + [0] * 9}, "10 counts"),
        ({"votes": [0] * 9 + [None]}, "10 counts"),
        ({"image": {"bytes": None, "path": "x"}}, "no image"),
        ({"image": None}, "no image"),
        ({"image": {"bytes": b"nonsense", "path": "x"}}, "not an image"),
    ],
)
def test_a_broken_row_is_named_and_refused_or_skipped(
    tmp_path: Path, rng: np.random.Generator, change: dict[str, Any], says: str
) -> None:
    faces = random_faces(rng, 3)
    records = [record(face, row + 70) for row, face in enumerate(faces)]
    records[1] |= change
    write(tmp_path / "valid.parquet", records)
    with pytest.raises(UserError, match=rf"valid\.parquet row 1 \(fer0000071\): .*{says}"):
        load_faces(tmp_path, "valid")
    found = load_faces(tmp_path, "valid", on_error="skip")
    assert found.ids == ("fer0000070", "fer0000072")
    assert np.array_equal(found.images, faces[[0, 2]])
    assert len(found.problems) == 1


@pytest.mark.parametrize("content", [b"", b"nonsense", b"PAR1" + b"\0" * 100 + b"PAR1"])
def test_a_file_that_is_no_parquet_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "train.parquet").write_bytes(content)
    with pytest.raises(UserError, match="cannot be read as Parquet"):
        load_faces(tmp_path, "train", on_error="skip")


def test_damage_in_the_middle_of_a_file_is_refused(tmp_path: Path, rng: np.random.Generator) -> None:
    path = write(tmp_path / "train.parquet", [record(face, row) for row, face in enumerate(random_faces(rng, 200))])
    content = bytearray(path.read_bytes())
    content[4:200] = b"\xff" * 196
    path.write_bytes(content)
    with pytest.raises(UserError, match="cannot be read as Parquet"):
        load_faces(tmp_path, "train", on_error="skip")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"image": "x.png"}, "'image' must be a struct"),
        ({"fer2013_label": "happy"}, "'fer2013_label' must be an integer"),
        ({"votes": ["a"]}, "'votes' must be a list of integers"),
        ({"row": 1.5}, "'row' must be an integer"),
    ],
)
def test_columns_of_another_type_are_refused(tmp_path: Path, rng: np.random.Generator, change: dict[str, Any], says: str) -> None:
    write(tmp_path / "train.parquet", [record(random_faces(rng, 1)[0]) | change])
    with pytest.raises(UserError, match=says):
        load_faces(tmp_path, "train", on_error="skip")


@pytest.mark.parametrize("column", ["image", "fer2013_label"])
def test_a_missing_column_is_refused(tmp_path: Path, rng: np.random.Generator, column: str) -> None:
    whole = record(random_faces(rng, 1)[0])
    del whole[column]
    write(tmp_path / "train.parquet", [whole])
    with pytest.raises(UserError, match=f"no column '{column}'"):
        load_faces(tmp_path, "train")


def person(face: np.ndarray, name: str, file: str, emotion: str = "neutral") -> dict[str, Any]:
    image = {"bytes": png_bytes(face), "path": file}
    return {"file": file, "identity": name, "emotion": emotion, "gender": "female", "image": image}


def test_faces128_never_shares_a_person_between_splits(tmp_path: Path, rng: np.random.Generator) -> None:
    faces = random_faces(rng, 400, 16)
    people = [f"person{number // 2}" if number < 300 else "" for number in range(400)]
    write(tmp_path / "faces.parquet", [person(faces[n], people[n], f"{n}.jpg") for n in rng.permutation(400).tolist()])
    splits = {split: load_faces128(tmp_path, split, size=16) for split in ("train", "valid", "test")}
    assert sorted(name for faces in splits.values() for name in faces.ids) == sorted(f"{n}.jpg" for n in range(400))
    assert len(splits["train"]) > 300
    seen: set[str] = set()
    for found in splits.values():
        here = set() if found.identities is None else set(found.identities) - {""}
        assert not here & seen
        seen |= here
    other = load_faces128(tmp_path / "faces.parquet", "test", seed=1, size=16)
    assert set(other.ids) != set(splits["test"].ids)


def test_faces128_resizes_and_keeps_what_is_known(tmp_path: Path, rng: np.random.Generator) -> None:
    emotions = ("surprise", "contempt", "")
    rows = [person(random_faces(rng, 1, 128)[0], "", f"{e}.jpg", e) for e in emotions for _ in range(1)]
    write(tmp_path / "faces.parquet", rows)
    found = [load_faces128(tmp_path, split) for split in ("train", "valid", "test")]
    labels = {name: label for part in found for name, label in zip(part.ids, part.labels.tolist(), strict=True)}
    assert labels == {"surprise.jpg": Emotion.SURPRISE, "contempt.jpg": -1, ".jpg": -1}
    for part in found:
        assert part.images.shape[1:] == (64, 64)
        assert part.source == "faces128"
        assert part.identities is None
        assert part.genders is None or set(part.genders) == {"female"}


def test_faces128_with_an_unknown_emotion_is_refused(tmp_path: Path, rng: np.random.Generator) -> None:
    write(tmp_path / "faces.parquet", [person(random_faces(rng, 1, 16)[0], "", "a.jpg", "joy2")])
    with pytest.raises(UserError, match=r"row 0 \(a\.jpg\).*joy2"):
        load_faces128(tmp_path, identity_split("a.jpg", 0), size=16)


def test_faces128_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"faces\.parquet: no such file"):
        load_faces128(tmp_path, "train")
