"""Colour photographs as the prior learns from them: the web pictures that were seen of them, and what raters said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from configs.cli import UserError
from encoder.data.colour_faces import ColourSplit
from encoder.data.face_parquet import read_rows
from encoder.emotions import NUM_EMOTIONS
from vqvae.attributes import ATTRIBUTES, NOT_TOLD, AttributeName
from vqvae.colour.photographs import Photographs
from vqvae.faces import SOURCES, TrainingFaces

_PIECE = 1024
# FairFace's words where they are not ours in small letters.
_WORDS = {
    "more than 70": "70+",
    "latino_hispanic": "latino",
    "east asian": "east-asian",
    "southeast asian": "southeast-asian",
    "middle eastern": "middle-eastern",
}
_COLUMNS: dict[AttributeName, str] = {"gender": "gender", "age": "age", "group": "race"}


def photograph_faces(folder: str | Path, split: ColourSplit, photographs: Photographs, side: int) -> TrainingFaces:
    """The ``photographs`` of a split as (N, side, side) web pictures with the attributes that raters gave.

    Nobody said which emotion they show: their labels are zeros, and the encoder's reading is taken.

    Raises:
        UserError: a column is missing, or holds a word that is no class of its attribute.
    """
    pieces = np.array_split(np.arange(len(photographs)), max(1, len(photographs) // _PIECE))
    images = np.concatenate([photographs.web_pictures(piece, side) for piece in pieces])
    labels = np.zeros((len(images), NUM_EMOTIONS), np.float32)
    sources = np.full(len(images), SOURCES.index("photo"))
    return TrainingFaces(images, labels, sources, _attributes(Path(folder).expanduser() / f"{split}.parquet"))


def _attributes(file: Path) -> dict[AttributeName, NDArray[np.int8]]:
    told: dict[AttributeName, list[int]] = {name: [] for name in _COLUMNS}
    for number, row in read_rows(file, tuple(_COLUMNS.values()), required=tuple(_COLUMNS.values())):
        for name, column in _COLUMNS.items():
            word = (row[column] or "").strip().lower()
            word = _WORDS.get(word, word)
            if word and word not in ATTRIBUTES[name]:
                raise UserError(f"{file} row {number}: {column} {row[column]!r} is none of {', '.join(ATTRIBUTES[name])}")
            told[name].append(ATTRIBUTES[name].index(word) if word else NOT_TOLD)
    return {name: np.array(column, np.int8) for name, column in told.items()}
