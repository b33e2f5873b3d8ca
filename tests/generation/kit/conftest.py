"""A reader for untrained weights: it sees what was asked, more or less, as the pixels decide."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pytest

from encoder.emotions import Emotion, one_hot
from generation.dataset.__main__ import main
from generation.draw import FaceModel
from generation.request import FaceRequest
from generation.verify import Verdict, judge

Made = Callable[..., tuple[Path, int]]
PEOPLE = ["--device", "cpu", "--steps", "2", "--judge", "none", "--critic-judge", "none", "--embedder", "none", "--quiet"]


@pytest.fixture
def _sees_what_was_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Untrained encoders find one emotion in everything. This one reads the request, and up to 0.6 of something else."""

    def read(_model: FaceModel, request: FaceRequest, faces: Any, emotions: Sequence[Sequence[float]]) -> list[Verdict]:
        verdicts = []
        for asked, face in zip(emotions, faces, strict=True):
            chance = crc32(np.ascontiguousarray(face).tobytes())
            share, other = 0.6 * (chance % 1000) / 1000, one_hot(Emotion(chance // 1000 % 7))
            seen = (1 - share) * np.array(asked) + share * np.array(other)
            verdicts.append(judge(asked, seen.tolist(), request.threshold, request.avoid))
        return verdicts

    monkeypatch.setattr(FaceModel, "read", read)


@pytest.fixture
def make(weights: Path, tmp_path: Path, _sees_what_was_asked: None) -> Made:
    """``make(name, people, *options)``: a set in a folder of this name, by the command; folder and exit code."""

    def run(name: str, people: int, *more: str) -> tuple[Path, int]:
        folder = tmp_path / name
        options = [*PEOPLE, "--weights", str(weights), *more]
        return folder, main(["--people", str(people), "--out", str(folder), *options])

    return run


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a set; of manifest and card, without time and command line."""
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    manifest = json.loads(found.pop("manifest.json"))
    card = found.pop("README.md").decode().replace(manifest["command"], "").replace(manifest["created"], "")
    return {**found, "manifest.json": json.dumps(manifest | {"created": "", "command": ""}).encode(), "README.md": card.encode()}
