"""Which form of a data set a path is taken for; and the facts of the real one."""

from pathlib import Path

import numpy as np
import pytest

from configs.cli import UserError
from encoder.data.duplicates import twins
from encoder.data.face_set import SPLITS
from encoder.data.load import load_faces, load_faces128


def test_a_path_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file or folder"):
        load_faces(tmp_path / "nothing", "train")


def test_an_unknown_split_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="unknown split 'dev'"):
        load_faces(tmp_path, "dev")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="unknown split 'dev'"):
        load_faces128(tmp_path, "dev")  # type: ignore[arg-type]


def test_a_folder_without_a_data_set_says_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"train\.parquet, fer2013\.csv.*train/<emotion>"):
        load_faces(tmp_path, "train")
    (tmp_path / "faces.parquet").touch()
    with pytest.raises(UserError, match="load_faces128"):
        load_faces(tmp_path, "train")


def test_a_folder_with_two_forms_is_refused_not_guessed(tmp_path: Path) -> None:
    (tmp_path / "fer2013.csv").touch()
    (tmp_path / "train").mkdir()
    with pytest.raises(UserError, match=r"fer2013\.csv, folders"):
        load_faces(tmp_path, "train")


def test_a_missing_parquet_split_is_refused(tmp_path: Path) -> None:
    (tmp_path / "train.parquet").touch()
    with pytest.raises(UserError, match=r"test\.parquet: no such file"):
        load_faces(tmp_path, "test")


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "faces.zip").touch()
    with pytest.raises(UserError, match="must be a CSV"):
        load_faces(tmp_path / "faces.zip", "train")


@pytest.mark.realdata
def test_the_real_faces_have_the_official_majority_counts(real_data: Path) -> None:
    faces = {split: load_faces(real_data / "fer2013plus", split) for split in SPLITS}
    assert [len(faces[split]) for split in SPLITS] == [28_561, 3_579, 3_574]
    assert [int((faces[split].majority() >= 0).sum()) for split in SPLITS] == [25_060, 3_199, 3_153]
    assert np.bincount(faces["train"].labels).tolist() == [3971, 436, 4085, 7186, 4796, 3155, 4932]
    assert int(twins(faces["test"], faces["train"]).sum()) == 288


@pytest.mark.realdata
def test_the_people_of_faces128_are_kept_apart(real_data: Path) -> None:
    faces = {split: load_faces128(real_data / "faces128", split) for split in SPLITS}
    assert sum(len(part) for part in faces.values()) == 13_148
    people = [set(part.identities.tolist()) - {""} for part in faces.values() if part.identities is not None]
    assert sum(len(names) for names in people) == len(set.union(*people)) == 5_604
