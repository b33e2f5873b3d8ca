"""Candidates of a data set in blocks: the unit of work that processes share and that an interrupted run keeps.

A block is always drawn whole, by one process, as one request. What it holds therefore depends on its number alone, not on
how many processes there are or how often the run was stopped.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load, save

from configs.cli import UserError
from encoder.emotions import Emotion
from engine.storage.atomic import atomic_write_bytes
from generation.dataset.order import DatasetRequest
from generation.draw import FaceModel
from generation.faces import Face
from generation.verify import Verdict


@dataclass(frozen=True)
class Block:
    """The accepted faces of one block's candidates, in the order of their seeds, and the draws they took together."""

    number: int
    emotion: Emotion
    faces: tuple[Face, ...]
    tried: int


def draw_block(model: FaceModel, request: DatasetRequest, number: int) -> Block:
    """Generate and verify the candidates of one block."""
    batch = model.generate(request.candidates(number), batch_size=request.block_size)
    return Block(number, request.emotions[number % len(request.emotions)], batch.faces, batch.tried)


def block_path(folder: Path, number: int) -> Path:
    """Where a block is kept."""
    return folder / f"block-{number:06d}.safetensors"


def store_block(folder: Path, block: Block) -> None:
    """Write a block, complete or not at all."""
    faces = block.faces
    columns = {
        "images": np.stack([face.image for face in faces]) if faces else np.zeros((0, 1, 1), np.uint8),
        "seeds": np.array([face.seed for face in faces], np.int64),
        "tries": np.array([face.tries for face in faces], np.int64),
        "matches": np.array([face.verdict.match for face in faces], np.float64),
        "distributions": np.array([face.verdict.distribution for face in faces], np.float64).reshape(-1, len(Emotion)),
        "tried": np.array([block.tried], np.int64),
    }
    atomic_write_bytes(block_path(folder, block.number), save(columns))


def load_block(folder: Path, request: DatasetRequest, number: int) -> Block:
    """Read a block that :func:`store_block` wrote.

    Raises:
        UserError: the file is missing or damaged.
    """
    path = block_path(folder, number)
    try:
        columns = load(path.read_bytes())
        rows = zip(*(columns[name] for name in ("images", "seeds", "tries", "matches", "distributions")), strict=True)
        faces = tuple(
            Face(image, int(seed), int(tries), Verdict(tuple(read.tolist()), Emotion(int(read.argmax())), float(match), True))
            for image, seed, tries, match, read in rows
        )
        tried = int(columns["tried"][0])
    except Exception as error:
        # Whatever a damaged file makes the reader say, the mend is the same.
        raise UserError(f"{path}: cannot be read ({type(error).__name__}); remove it and run again") from None
    return Block(number, request.emotions[number % len(request.emotions)], faces, tried)
