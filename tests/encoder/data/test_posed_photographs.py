"""Photographs of people who look neutral and who smile, in Parquet."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from configs.cli import UserError
from encoder.data.posed_photographs import load_posed_photographs
from encoder.pictures.face_images import png_bytes


def record(person: str, expression: str | None, picture: np.ndarray) -> dict[str, Any]:
    return {"person": person, "expression": expression, "age": 24.0, "image": {"bytes": png_bytes(picture), "path": ""}}


def write(path: Path, records: list[dict[str, Any]]) -> Path:
    pq.write_table(pa.Table.from_pylist(records), path)
    return path


def test_pictures_come_back_whole_by_person_and_expression(tmp_path: Path, rng: np.random.Generator) -> None:
    pictures = rng.integers(0, 256, (4, 20, 30, 3), dtype=np.uint8)
    names = [("b", "smiling"), ("a", "neutral"), ("b", "neutral"), ("a", "smiling")]
    write(tmp_path / "london.parquet", [record(*name, picture) for name, picture in zip(names, pictures, strict=True)])
    for place in (tmp_path, tmp_path / "london.parquet"):
        found = load_posed_photographs(place)
        assert list(zip(found.person, found.expression, strict=True)) == sorted(names)
        for name, picture in zip(names, pictures, strict=True):
            assert np.array_equal(found.pictures[sorted(names).index(name)], picture)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("a", "neutral")], "person 'a' lacks an expression"),
        ([("a", "neutral"), ("a", "neutral")], "row 1 .*second photograph"),
        ([("a", "angry")], "row 0 .*neutral or smiling"),
        ([("", "neutral")], "row 0 .*needs a person"),
    ],
)
def test_what_is_no_pair_is_refused(tmp_path: Path, rows: list[tuple[str, str]], message: str) -> None:
    picture = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(UserError, match=message):
        load_posed_photographs(write(tmp_path / "p.parquet", [record(*row, picture) for row in rows]))


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"london\.parquet: no such file"):
        load_posed_photographs(tmp_path)
    row = record("a", "neutral", np.zeros((8, 8, 3), np.uint8))
    del row["expression"]
    with pytest.raises(UserError, match="no column 'expression'"):
        load_posed_photographs(write(tmp_path / "p.parquet", [row]))
    broken = record("a", "neutral", np.zeros((8, 8, 3), np.uint8)) | {"image": {"bytes": b"no", "path": ""}}
    with pytest.raises(UserError, match=r"person 'a', neutral\): not an image"):
        load_posed_photographs(write(tmp_path / "p.parquet", [broken]))
