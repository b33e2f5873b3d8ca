"""Colour faces in Parquet, with what raters said of the people."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from configs.cli import UserError
from encoder.data.colour_faces import ColourFaces, load_colour_faces
from encoder.pictures.face_images import png_bytes


def record(face: np.ndarray, **other: Any) -> dict[str, Any]:
    texts = {"source": "fairface", "file": "7.jpg", "person": None, "age": "20-29", "gender": "Female", "race": "Indian"}
    image = {"bytes": png_bytes(face), "path": "7.jpg"}
    return {**texts, "yaw": 0.125, "points": [0.1 * number for number in range(10)], "image": image, **other}


def write(folder: Path, *records: dict[str, Any], split: str = "valid") -> Path:
    pq.write_table(pa.Table.from_pylist(list(records)), folder / f"{split}.parquet")
    return folder


def random_faces(rng: np.random.Generator, count: int) -> np.ndarray:
    return rng.integers(0, 256, (count, 16, 16, 3), dtype=np.uint8)


def test_faces_come_back_pixel_for_pixel_with_what_is_known(tmp_path: Path, rng: np.random.Generator) -> None:
    pixels = random_faces(rng, 3)
    nobody = {"age": None, "gender": None, "race": None, "source": "lfw", "person": "A Person"}
    write(tmp_path, record(pixels[0]), record(pixels[1], race="Black"), record(pixels[2], **nobody))
    faces = load_colour_faces(tmp_path, "valid", size=16)
    assert np.array_equal(faces.images, pixels)
    assert faces.race.tolist() == ["Indian", "Black", ""]
    assert faces.person.tolist() == ["", "", "A Person"]
    assert faces.yaw.tolist() == [0.125] * 3
    assert np.allclose(faces.points[1], 0.1 * np.arange(10).reshape(5, 2))
    some = faces.subset(faces.race != "")
    assert isinstance(some, ColourFaces)
    assert (len(some), some.images.shape, some.grey().shape) == (2, (2, 16, 16, 3), (2, 16, 16))


def test_another_size_keeps_the_colours(tmp_path: Path) -> None:
    face = np.zeros((16, 16, 3), np.uint8)
    face[:, :, 0] = 200
    found = load_colour_faces(write(tmp_path, record(face), split="train"), "train", size=8)
    assert found.images.shape == (1, 8, 8, 3)
    assert found.images[0, 4, 4].tolist() == [200, 0, 0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"points": [0.5] * 9 + [None]}, r"row 0 \(7\.jpg\): needs a yaw and 10 numbers"),
        ({"yaw": None}, "column 'yaw' must be a number|needs a yaw"),
        ({"race": 3}, "column 'race' must be a string"),
        ({"image": {"bytes": b"no picture", "path": ""}}, r"row 0 \(7\.jpg\): not an image"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, rng: np.random.Generator, change: dict[str, Any], message: str) -> None:
    write(tmp_path, record(random_faces(rng, 1)[0], **change))
    with pytest.raises(UserError, match=message):
        load_colour_faces(tmp_path, "valid")


def test_what_is_missing_is_named(tmp_path: Path, rng: np.random.Generator) -> None:
    with pytest.raises(UserError, match=r"train\.parquet: no such file.*colour128"):
        load_colour_faces(tmp_path, "train")
    with pytest.raises(UserError, match="unknown split 'test'"):
        load_colour_faces(tmp_path, "test")  # type: ignore[arg-type]
    row = record(random_faces(rng, 1)[0])
    del row["race"]
    with pytest.raises(UserError, match="no column 'race'"):
        load_colour_faces(write(tmp_path, row), "valid")


@pytest.mark.realdata
def test_the_real_colour_faces_are_balanced_over_seven_groups(real_data: Path) -> None:
    faces = load_colour_faces(real_data / "colour128", "valid", size=32)
    assert len(faces) == 2_517
    assert np.unique(faces.race).tolist() == [
        "Black", "East Asian", "Indian", "Latino_Hispanic", "Middle Eastern", "Southeast Asian", "White",
    ]  # fmt: skip
    eyes = faces.points[:, :4].mean(axis=1)
    assert np.abs(np.median(eyes, axis=0) - (0.50, 0.34)).max() < 0.01
