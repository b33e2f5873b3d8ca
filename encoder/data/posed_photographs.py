"""Photographs of people asked to look neutral and to smile: the layout of the Face Research Lab London Set in Parquet.

One file with an ``image`` column of ``{bytes, path}`` and these beside it::

    person       string   whom it shows; one photograph of each expression
    expression   string   neutral or smiling

Other columns are left alone. L. DeBruine and B. Jones, Face Research Lab London Set, 2017, doi 10.6084/m9.figshare.5047666.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from configs.cli import UserError
from encoder.data.face_parquet import read_rows
from encoder.pictures.face_images import BadImage, decode_colour

EXPRESSIONS = ("neutral", "smiling")
FILE = "london.parquet"


@dataclass(frozen=True, eq=False)
class PosedPhotographs:
    """N photographs as they are: (H, W, 3) uint8 RGB ``pictures``; whom they show; ``neutral`` or ``smiling``."""

    pictures: tuple[NDArray[np.uint8], ...]
    person: tuple[str, ...]
    expression: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.pictures)


def load_posed_photographs(path: str | Path) -> PosedPhotographs:
    """All photographs, by person and expression.

    Args:
        path: the Parquet file, or the folder that holds it as ``london.parquet``.

    Raises:
        UserError: no such file, a column is missing or has another type, a row is broken or has another expression, or somebody
            does not have exactly one photograph of each expression.
    """
    file = Path(path)
    file = file / FILE if file.is_dir() else file
    if not file.is_file():
        raise UserError(f"{file}: no such file; give {FILE} or the folder that holds it")
    found: dict[tuple[str, str], NDArray[np.uint8]] = {}
    columns = ("person", "expression", "image")
    for number, row in read_rows(file, columns, required=columns):
        person, expression = row["person"] or "", row["expression"] or ""
        place = f"{file} row {number} (person {person!r}, {expression or 'no expression'})"
        if not person or expression not in EXPRESSIONS:
            raise UserError(f"{place}: needs a person, and an expression that is {' or '.join(EXPRESSIONS)}")
        if (person, expression) in found:
            raise UserError(f"{place}: the second photograph of this expression; keep one")
        try:
            found[person, expression] = decode_colour((row["image"] or {}).get("bytes") or b"")
        except BadImage as error:
            raise UserError(f"{place}: {error}; mend or remove the row") from None
    alone = [person for person, count in Counter(person for person, _ in found).items() if count < len(EXPRESSIONS)]
    if alone or not found:
        raise UserError(f"{file}: {f'person {alone[0]!r} lacks an expression' if alone else 'holds no photograph'}")
    order = sorted(found)
    return PosedPhotographs(tuple(found[key] for key in order), *(tuple(part) for part in zip(*order, strict=True)))
