"""Which form of a data set a path is taken for; and the facts of the real one."""

from pathlib import Path

import numpy as np
import pytest

from configs.cli import UserError
from encoder.data.duplicates import twins
from encoder.data.face_set import SPLITS, Split
from encoder.data.load import load_faces, load_faces128


@pytest.mark.parametrize(
    ("there", "place", "split", "message"),
    [
        ([], "nothing", "train", "no such file or folder"),
        ([], "", "dev", "unknown split 'dev'"),
        ([], "", "train", r"train\.parquet, fer2013\.csv.*train/<emotion>"),
        (["faces.parquet"], "", "train", "load_faces128"),
        (["fer2013.csv", "train/"], "", "train", r"fer2013\.csv, folders"),
        (["train.parquet"], "", "test", r"test\.parquet: no such file"),
        (["faces.zip"], "faces.zip", "train", "must be a CSV"),
    ],
)
def test_what_is_no_data_set_is_refused_with_advice(
    tmp_path: Path, there: list[str], place: str, split: Split, message: str
) -> None:
    for name in there:
        (tmp_path / name).mkdir() if name.endswith("/") else (tmp_path / name).touch()
    with pytest.raises(UserError, match=message):
        load_faces(tmp_path / place, split)


def test_faces128_knows_the_same_splits(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="unknown split 'dev'"):
        load_faces128(tmp_path, "dev")


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
