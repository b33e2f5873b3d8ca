"""Finished people on disk: the unit of work that processes share and that an interrupted run keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

from configs.cli import UserError
from engine.storage.atomic import atomic_write_bytes
from generation.dataset.blocks import face_columns, faces_from
from generation.kit.opinions import NUMBERS
from generation.kit.order import NEUTRAL, StimulusRequest
from generation.kit.person import Person
from generation.verify import CAUSES
from vqvae.attributes import AttributeName

Said = Mapping[str, NDArray[Any]]


def person_path(folder: Path, number: int) -> Path:
    """Where a person is kept."""
    return folder / f"person-{number:06d}.safetensors"


def store_person(folder: Path, request: StimulusRequest, person: Person, said: Said) -> None:
    """Write a person, complete or not at all; ``said`` of the faces in the order of ``request.cells``."""
    cells = [cell for cell in request.cells if cell in person.faces]
    columns = {
        **face_columns([person.faces[cell] for cell in cells]),
        "cells": np.array([request.cells.index(cell) for cell in cells], np.int64),
        "tried": np.array([person.tried.get(cell, 0) for cell in request.cells], np.int64),
        "unordered": np.array([person.unordered.get(cell, 0) for cell in request.cells], np.int64),
        "refused": np.array(
            [[person.refused.get(cell, {}).get(cause, 0) for cause in CAUSES] for cell in request.cells], np.int64
        ),
        **{f"said_{name}": np.asarray(values, np.float64) for name, values in said.items()},
    }
    atomic_write_bytes(person_path(folder, person.number), save(columns))


def load_person(folder: Path, request: StimulusRequest, number: int, names: Sequence[AttributeName]) -> tuple[Person, Said]:
    """Read what :func:`store_person` wrote; ``names`` are the attributes that the prior may be told.

    Raises:
        UserError: the file is missing or damaged.
    """
    path = person_path(folder, number)
    try:
        columns = load(path.read_bytes())
        cells = [request.cells[index] for index in columns["cells"].tolist()]
        found = faces_from(columns, request.face_request(NEUTRAL), names)
        faces = {cell: replace(face, asked=cell.asked) for cell, face in zip(cells, found, strict=True)}
        tried = dict(zip(request.cells, columns["tried"].tolist(), strict=True))
        unordered = dict(zip(request.cells, columns["unordered"].tolist(), strict=True))
        refused = {
            cell: {cause: count for cause, count in zip(CAUSES, row, strict=True) if count}
            for cell, row in zip(request.cells, columns["refused"].tolist(), strict=True)
        }
        said = {name: columns[f"said_{name}"] for name in ("judge", *NUMBERS)}
        if any(len(values) != len(cells) for values in said.values()):
            raise ValueError("opinions of other faces")
    except Exception as error:
        # Whatever a damaged file makes the reader say, the mend is the same.
        raise UserError(f"{path}: cannot be read ({type(error).__name__}); remove it and run again") from None
    return Person(number, faces, tried, refused, unordered), said
