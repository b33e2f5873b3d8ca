"""The table of faces labelled by eye: what is shipped is sound, and what is not is refused by its line."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from configs.cli import UserError
from encoder.attributes.labels import ATTRIBUTES, labelled_faces, read_labels, truths
from encoder.data.face_parquet import write_parquet_splits
from encoder.drawing.faces import drawn_set

HEAD = "data,split,row,chosen,object,text,unreal,closed,blurred"


def table(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "labels.csv"
    path.write_text("\n".join(("# a remark", HEAD, *lines)) + "\n", encoding="utf-8")
    return path


def test_the_shipped_table_names_every_face_once_and_keeps_the_splits_apart() -> None:
    rows = read_labels()
    assert len({(row.data, row.split, row.row) for row in rows}) == len(rows) > 1000
    counts = Counter((row.data, row.split, row.chosen) for row in rows)
    assert counts["fer2013", "valid", "random"] == 200
    assert {split for data, split, _ in counts if data == "colour128"} == {"train"}
    # FER-2013 numbers its rows through: Training, then PublicTest, then PrivateTest, which nothing here may come from.
    numbers = {split: [row.row for row in rows if (row.data, row.split) == ("fer2013", split)] for split in ("train", "valid")}
    assert max(numbers["train"]) < 28709 <= min(numbers["valid"])
    assert max(numbers["valid"]) < 32298


def test_every_attribute_is_shown_by_some_and_not_by_most() -> None:
    shown = truths([row for row in read_labels() if row.split == "train"])
    assert shown.shape[1] == len(ATTRIBUTES)
    assert (shown.sum(axis=0) >= 15).all()
    assert (shown.mean(axis=0) < 0.5).all()


def test_remarks_are_skipped_and_values_are_read(tmp_path: Path) -> None:
    one, two = read_labels(table(tmp_path, "fer2013,train,12,random,1,0,0,0,1", "colour128,train,0,weighted,0,0,0,1,0"))
    assert (one.data, one.split, one.row, one.chosen) == ("fer2013", "train", 12, "random")
    assert one.shows == (True, False, False, False, True)
    assert truths([one, two]).tolist() == [list(one.shows), [False, False, False, True, False]]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("fer2013,train,12,random,2,0,0,0,0", "object is '2', but must be 0 or 1"),
        ("fer2013,train,12,random,1,0,0,0,", "blurred is '', but must be 0 or 1"),
        ("fer2013,train,-3,random,1,0,0,0,0", "row is '-3'"),
        ("fer2013,test,3,random,1,0,0,0,0", "split is 'test'"),
        ("london,train,3,random,1,0,0,0,0", "data is 'london'"),
        ("fer2013,train,3,favourite,1,0,0,0,0", "chosen is 'favourite'"),
        ("fer2013,train,3,random,1,0,0,0", "8 values, but 9 columns"),
        ("fer2013,train,7,random,1,0,0,0,0", "train row 7 is named twice"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, said: str) -> None:
    path = table(tmp_path, "fer2013,train,7,random,0,0,0,0,0", line)
    with pytest.raises(UserError) as refused:
        read_labels(path)
    assert str(refused.value).startswith(f"{path}:4: ")
    assert said in str(refused.value)


def test_another_table_and_no_table_are_one_line(tmp_path: Path) -> None:
    other = tmp_path / "other.csv"
    other.write_text("name,age\nx,3\n", encoding="utf-8")
    with pytest.raises(UserError, match="the first line without # must be data,split,row"):
        read_labels(other)
    with pytest.raises(UserError, match="cannot be read"):
        read_labels(tmp_path / "none.csv")


def test_faces_come_in_the_order_of_the_rows(tmp_path: Path) -> None:
    faces = drawn_set("train", 6, seed=3)
    numbered = type(faces)(**{**vars(faces), "ids": tuple(f"fer{10 * index:07d}" for index in range(6))})
    write_parquet_splits(tmp_path_folder := tmp_path / "fer2013plus", {"train": numbered})
    rows = read_labels(table(tmp_path, "fer2013,train,40,random,0,0,0,0,0", "fer2013,train,10,random,0,0,0,0,0"))
    np.testing.assert_array_equal(labelled_faces(rows, tmp_path, 48), faces.images[[4, 1]])
    lacking = read_labels(table(tmp_path, "fer2013,train,41,random,0,0,0,0,0"))
    with pytest.raises(UserError, match="has no row 41") as refused:
        labelled_faces(lacking, tmp_path, 48)
    assert str(tmp_path_folder) in str(refused.value)


def test_a_missing_data_set_is_one_line(tmp_path: Path) -> None:
    for line in ("fer2013,train,1,random,0,0,0,0,0", "colour128,train,1,random,0,0,0,0,0"):
        with pytest.raises(UserError, match="no such file"):
            labelled_faces(read_labels(table(tmp_path, line)), tmp_path, 48)
