"""Candidates of a data set in blocks: the unit of work that processes share and that an interrupted run keeps.

A block is always drawn whole, by one process, as one request. What it holds therefore depends on its number alone, not on
how many processes there are or how often the run was stopped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, field_validator, model_validator
from safetensors.numpy import load, save

from configs.cli import UserError
from configs.loader import StrictModel
from encoder.emotions import EMOTION_NAMES, Emotion, one_hot
from engine.storage.atomic import atomic_write_bytes
from generation.faces import Face, FaceBatch
from generation.pipeline import FacePipeline
from generation.request import MAX_COUNT, MAX_SEED, FaceRequest
from generation.verify import Verdict

BLOCK = 32
# Candidates looked at before an emotion is given up, as a multiple of the faces asked for.
PATIENCE = 4


class DatasetRequest(StrictModel):
    """One order of a labelled set. ``counts`` are faces by emotion; ``settings`` go to every :class:`FaceRequest`."""

    counts: dict[str, int]
    seed: int = Field(0, ge=0, le=MAX_SEED)
    valid_share: float = Field(0.1, ge=0, le=0.9, description="share of each emotion that goes to the split valid")
    form: Literal["folders", "parquet"] = "folders"
    least_difference: float = Field(10.0, ge=0, le=255, description="grey levels by which any two faces differ at least")
    mark: bool = Field(False, description="draw the visible mark on every face")
    settings: dict[str, Any] = Field(default_factory=dict)

    @field_validator("counts")
    @classmethod
    def _are_counts(cls, value: dict[str, int]) -> dict[str, int]:
        if not value or not set(value) <= set(EMOTION_NAMES):
            raise UserError(
                f"counts: give faces for at least one of {', '.join(EMOTION_NAMES)}, got {', '.join(value) or 'none'}"
            )
        for name, count in value.items():
            if not 1 <= count <= MAX_COUNT:
                raise UserError(f"counts: {name}: must lie between 1 and {MAX_COUNT}, got {count}")
        return {name: value[name] for name in EMOTION_NAMES if name in value}

    @model_validator(mode="after")
    def _every_block_can_be_asked_for(self) -> DatasetRequest:
        for place, emotion in enumerate(self.emotions):
            self.candidates((self.block_limit(emotion) - 1) * len(self.emotions) + place)
        return self

    @property
    def emotions(self) -> tuple[Emotion, ...]:
        """The emotions asked for, in enum order."""
        return tuple(emotion for emotion in Emotion if emotion.label in self.counts)

    @property
    def block_size(self) -> int:
        """Candidates in a block."""
        return min(BLOCK, max(self.counts.values()))

    def block_limit(self, emotion: Emotion) -> int:
        """Blocks of ``emotion`` that are drawn at most."""
        return PATIENCE * -(-self.counts[emotion.label] // self.block_size)

    def candidates(self, number: int) -> FaceRequest:
        """Block ``number`` as a request. Emotions take turns; candidate i of the whole set is seeded ``seed + i``."""
        emotion = self.emotions[number % len(self.emotions)]
        seed = self.seed + number * self.block_size
        return FacePipeline.request(one_hot(emotion), self.block_size, seed, **self.settings)


@dataclass(frozen=True)
class Block:
    """The accepted faces of one block's candidates, in the order of their seeds, and the draws they took together."""

    number: int
    emotion: Emotion
    faces: tuple[Face, ...]
    tried: int


def draw_block(pipe: FacePipeline, request: DatasetRequest, number: int) -> Block:
    """Generate and verify the candidates of one block."""
    asked = request.candidates(number)
    batch: FaceBatch = pipe.generate(asked, batch_size=request.block_size)
    return Block(number, request.emotions[number % len(request.emotions)], batch.faces, batch.tried)


def block_path(folder: Path, number: int) -> Path:
    """Where a block is kept."""
    return folder / f"block-{number:06d}.safetensors"


def store_block(folder: Path, block: Block, side: int) -> None:
    """Write a block, complete or not at all; ``side`` of its faces in pixels."""
    faces = block.faces
    columns: Mapping[str, np.ndarray] = {
        "images": np.stack([face.image for face in faces]) if faces else np.zeros((0, side, side), np.uint8),
        "seeds": np.array([face.seed for face in faces], np.int64),
        "tries": np.array([face.tries for face in faces], np.int64),
        "matches": np.array([face.verdict.match for face in faces], np.float64),
        "distributions": np.array([face.verdict.distribution for face in faces], np.float64).reshape(-1, len(Emotion)),
        "tried": np.array([block.tried], np.int64),
    }
    atomic_write_bytes(block_path(folder, block.number), save(dict(columns)))


def load_block(folder: Path, request: DatasetRequest, number: int) -> Block:
    """Read a block that :func:`store_block` wrote.

    Raises:
        UserError: the file is missing or damaged.
    """
    path = block_path(folder, number)
    try:
        columns = load(path.read_bytes())
        rows = zip(*(columns[name] for name in ("images", "seeds", "tries", "matches", "distributions")), strict=True)
        faces = []
        for image, seed, tries, match, distribution in rows:
            read = tuple(float(p) for p in distribution)
            verdict = Verdict(read, Emotion(int(np.argmax(distribution))), float(match), True)
            faces.append(Face(image, int(seed), int(tries), verdict))
        tried = int(columns["tried"][0])
    except Exception as error:
        # Whatever a damaged file makes the reader say, the mend is the same.
        raise UserError(f"{path}: cannot be read ({type(error).__name__}); remove it and run again") from None
    return Block(number, request.emotions[number % len(request.emotions)], tuple(faces), tried)
