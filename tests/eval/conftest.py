"""A tiny data set of faces that the project draws itself, with FER+ votes, laid out like FER-2013."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from encoder.datasets import FaceSet
from encoder.drawn import drawn_set
from encoder.emotions import FERPLUS_VOTE_ORDER
from encoder.face_parquet import write_parquet_splits


def with_votes(faces: FaceSet) -> FaceSet:
    """Ten annotators who all agree with the label."""
    counts = np.zeros((len(faces), len(FERPLUS_VOTE_ORDER)), np.int16)
    for row, label in enumerate(faces.labels):
        counts[row, FERPLUS_VOTE_ORDER.index(label)] = 10
    return dataclasses.replace(faces, vote_counts=counts)


@pytest.fixture(scope="session")
def drawn_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn")
    sizes = {"train": 160, "valid": 80, "test": 80}
    write_parquet_splits(folder, {split: with_votes(drawn_set(split, n, seed=1)) for split, n in sizes.items()})
    return folder
