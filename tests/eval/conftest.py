"""Data of drawn faces laid out like FER-2013 with votes, a stand-in for a generated set, and tiny random weights."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from encoder.data.face_parquet import write_parquet_splits
from encoder.data.face_set import FaceSet
from encoder.drawing.faces import drawn_set
from encoder.emotions import EMOTION_NAMES, FERPLUS_VOTE_ORDER
from engine.storage.weights import WEIGHTS_FILE, file_sha256


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
def stand_in(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Path:
    """A finished set as ``generation.dataset`` leaves it, with drawn faces in the place of generated ones: 40 an emotion."""
    folder = tmp_path_factory.mktemp("generated")
    faces = drawn_set("train", 280, seed=9)
    names = tuple(f"{EMOTION_NAMES[label]}-{seed:08d}.png" for seed, label in enumerate(faces.labels))
    write_parquet_splits(folder, {"train": dataclasses.replace(faces, ids=names, source="generated")})
    manifest = {
        "ai_generated": True,
        "splits": {"train": dict.fromkeys(EMOTION_NAMES, 40)},
        "request": {"seed": 0, "settings": {}},
        "weights_sha256": {"tokenizer": file_sha256(weights / "tokenizer" / WEIGHTS_FILE)},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory, small_weights: Callable[..., Path]) -> Path:
    folder = small_weights(tmp_path_factory.mktemp("weights"), groups=1, heads=("fer2013",))
    shutil.copytree(folder / "encoder", folder / "judge")
    return folder


@pytest.fixture
def places(weights: Path, tmp_path: Path) -> list[str]:
    """Options of a program that draws: tiny random networks on the CPU, results in ``tmp_path``."""
    return ["--weights", str(weights), "--judge", str(weights / "judge"), "--device", "cpu", "--out", str(tmp_path)]
