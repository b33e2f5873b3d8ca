"""Candidates of a data set in blocks: the unit of work that processes share and that an interrupted run keeps.

A block is always drawn whole, by one process, as one request. What it holds therefore depends on its number alone, not on
how many processes there are or how often the run was stopped.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

from configs.cli import UserError
from encoder.emotions import Emotion
from engine.storage.atomic import atomic_write_bytes
from generation.dataset.counts import Cell
from generation.dataset.order import DatasetRequest
from generation.draw import FaceModel
from generation.faces import Face
from generation.request import FaceRequest
from generation.settle import attributes_of, in_words
from generation.verify import CAUSES, Cause, Verdict
from generation.vetoes import Landmarks, Seen
from vqvae.attributes import AttributeName

_COLUMNS = ("seeds", "tries", "matches", "distributions", "realism", "landmarks", "seen")


@dataclass(frozen=True)
class Block:
    """The accepted faces of one block's candidates, in the order of their seeds, and the draws they took together.

    Attributes:
        cell: whom they show. refused: of all draws those that were refused, by who refused them.
    """

    number: int
    cell: Cell
    faces: tuple[Face, ...]
    tried: int
    refused: Mapping[Cause, int] = field(default_factory=dict)


def draw_block(model: FaceModel, request: DatasetRequest, number: int) -> Block:
    """Generate and verify the candidates of one block."""
    batch = model.generate(request.candidates(number), batch_size=request.block_size)
    return Block(number, request.cell(number), batch.faces, batch.tried, batch.refused)


def block_path(folder: Path, number: int) -> Path:
    """Where a block is kept."""
    return folder / f"block-{number:06d}.safetensors"


def store_block(folder: Path, block: Block) -> None:
    """Write a block, complete or not at all."""
    more = {
        "tried": np.array([block.tried], np.int64),
        "refused": np.array([block.refused.get(cause, 0) for cause in CAUSES], np.int64),
    }
    atomic_write_bytes(block_path(folder, block.number), save({**face_columns(block.faces), **more}))


def face_columns(faces: Sequence[Face]) -> dict[str, NDArray[Any]]:
    """N faces as arrays of N rows; without what they were told, which follows from their seeds."""
    return {
        "images": np.stack([face.image for face in faces]) if faces else np.zeros((0, 1, 1), np.uint8),
        "seeds": np.array([face.seed for face in faces], np.int64),
        "tries": np.array([face.tries for face in faces], np.int64),
        "matches": np.array([face.verdict.match for face in faces], np.float64),
        "distributions": np.array([face.verdict.distribution for face in faces], np.float64).reshape(-1, len(Emotion)),
        "realism": np.array([np.nan if face.realism is None else face.realism for face in faces], np.float64),
        "landmarks": np.array([_numbers(face.landmarks) for face in faces], np.float64).reshape(-1, 6),
        "seen": np.array([_probabilities(face.seen) for face in faces], np.float64).reshape(-1, 2),
    }


def faces_from(columns: Mapping[str, NDArray[Any]], request: FaceRequest, names: Sequence[AttributeName]) -> tuple[Face, ...]:
    """The accepted faces that :func:`face_columns` stored; ``names`` are the attributes that the prior may be told."""
    rows = zip(*(columns[name].tolist() for name in _COLUMNS), columns["images"], strict=True)
    told = attributes_of(request, columns["seeds"].tolist(), names).tolist()
    return tuple(
        Face(
            image,
            seed,
            tries,
            Verdict(tuple(read), Emotion(int(np.argmax(read))), match, True),
            in_words(about, names),
            None if math.isnan(realism) else realism,
            _landmarks(marks),
            seen=None if math.isnan(seen[0]) else Seen(*seen),
        )
        for (seed, tries, match, read, realism, marks, seen, image), about in zip(rows, told, strict=True)
    )


def _numbers(marks: Landmarks | None) -> tuple[float, ...]:
    return (math.nan,) * 6 if marks is None else (marks.score, *marks.eyes, marks.distance, *marks.mouth)


def _probabilities(seen: Seen | None) -> tuple[float, ...]:
    return (math.nan,) * 2 if seen is None else (seen.hands, seen.closed)


def _landmarks(row: Sequence[float]) -> Landmarks | None:
    score, x, y, distance, *mouth = row
    return None if math.isnan(score) else Landmarks(score, (x, y), distance, (mouth[0], mouth[1]))


def load_block(folder: Path, request: DatasetRequest, number: int, names: Sequence[AttributeName]) -> Block:
    """Read a block that :func:`store_block` wrote; ``names`` are the attributes that the prior may be told.

    Raises:
        UserError: the file is missing or damaged.
    """
    path = block_path(folder, number)
    try:
        columns = load(path.read_bytes())
        faces = faces_from(columns, request.candidates(number), names)
        refused = dict(zip(CAUSES, columns["refused"].tolist(), strict=True))
        tried = int(columns["tried"][0])
    except Exception as error:
        # Whatever a damaged file makes the reader say, the mend is the same.
        raise UserError(f"{path}: cannot be read ({type(error).__name__}); remove it and run again") from None
    return Block(number, request.cell(number), faces, tried, refused)
