"""A tiny data set of faces that the project draws itself, with FER+ votes, laid out like FER-2013."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from encoder.datasets import FaceSet
from encoder.drawn import drawn_set
from encoder.emotions import EMOTION_NAMES, FERPLUS_VOTE_ORDER
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


@pytest.fixture(scope="session")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished set as ``generation.dataset`` leaves it, with drawn faces in the place of generated ones: 40 an emotion."""
    folder = tmp_path_factory.mktemp("generated")
    faces = drawn_set("train", 280, seed=9)
    names = tuple(f"{EMOTION_NAMES[label]}-{seed:08d}.png" for seed, label in enumerate(faces.labels))
    write_parquet_splits(folder, {"train": dataclasses.replace(faces, ids=names, source="generated")})
    manifest = {
        "ai_generated": True,
        "splits": {"train": dict.fromkeys(EMOTION_NAMES, 40)},
        "request": {"seed": 0, "settings": {}},
        "weights_sha256": {},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder
