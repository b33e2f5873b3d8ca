"""Faces labelled by eye with what they show beside their emotion: ``labels.csv``, read strictly, and the faces it names."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from configs.cli import UserError
from encoder.data.face_parquet import read_rows
from encoder.data.load import load_faces
from encoder.pictures.face_images import BadImage, decode_face

ATTRIBUTES = ("object", "text", "unreal", "closed", "blurred")
LABELS = Path(__file__).with_name("labels.csv")
_FOLDERS = {"fer2013": "fer2013plus", "colour128": "colour128"}
_CHOSEN = ("random", "weighted", "probe")
_HEAD = ["data", "split", "row", "chosen", *ATTRIBUTES]


@dataclass(frozen=True)
class LabelledRow:
    """One face of the table.

    Attributes:
        data: ``fer2013`` or ``colour128``.
        split: ``train`` is fitted on, ``valid`` reported on.
        row: of ``fer2013.csv``, or of the Parquet file of ``colour128``, from 0.
        chosen: how it came here; ``random`` faces stand for their split.
        shows: one truth for each of ``ATTRIBUTES``.
    """

    data: str
    split: str
    row: int
    chosen: str
    shows: tuple[bool, ...]


def read_labels(path: str | Path = LABELS) -> tuple[LabelledRow, ...]:
    """The rows of a label table, in its order; lines that begin with ``#`` are remarks.

    Raises:
        UserError: no such file, other columns, a face that is named twice, or a value that is not one of the column's.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or 'not UTF-8'})") from None
    numbered = [(number, line) for number, line in enumerate(lines, 1) if line and not line.startswith("#")]
    if not numbered or numbered[0][1].split(",") != _HEAD:
        raise UserError(f"{path}: the first line without # must be {','.join(_HEAD)}")
    rows: list[LabelledRow] = []
    seen: set[tuple[str, str, int]] = set()
    for (number, _), cells in zip(numbered[1:], csv.reader(line for _, line in numbered[1:]), strict=True):
        row = _parsed(cells, f"{path}:{number}")
        key = (row.data, row.split, row.row)
        if key in seen:
            raise UserError(f"{path}:{number}: {row.data} {row.split} row {row.row} is named twice; keep one line")
        seen.add(key)
        rows.append(row)
    return tuple(rows)


def _parsed(cells: list[str], where: str) -> LabelledRow:
    if len(cells) != len(_HEAD):
        raise UserError(f"{where}: {len(cells)} values, but {len(_HEAD)} columns")
    data, split, row, chosen, *shows = cells
    for name, value, known in (("data", data, _FOLDERS), ("split", split, ("train", "valid")), ("chosen", chosen, _CHOSEN)):
        if value not in known:
            raise UserError(f"{where}: {name} is {value!r}, but must be one of {', '.join(known)}")
    if not (row.isascii() and row.isdigit()):
        raise UserError(f"{where}: row is {row!r}, but must be a whole number from 0")
    for name, value in zip(ATTRIBUTES, shows, strict=True):
        if value not in ("0", "1"):
            raise UserError(f"{where}: {name} is {value!r}, but must be 0 or 1")
    return LabelledRow(data, split, int(row), chosen, tuple(value == "1" for value in shows))


def truths(rows: Sequence[LabelledRow]) -> NDArray[np.bool_]:
    """(N, 5) what each row shows, in the order of ``ATTRIBUTES``."""
    return np.array([row.shows for row in rows], bool).reshape(len(rows), len(ATTRIBUTES))


def labelled_faces(rows: Sequence[LabelledRow], folder: str | Path, size: int) -> NDArray[np.uint8]:
    """(N, size, size) grey faces of the rows, in their order, from ``folder``/fer2013plus and ``folder``/colour128.

    Raises:
        UserError: a data set is missing or damaged, or lacks a row that the table names.
    """
    found: dict[tuple[str, str, int], NDArray[np.uint8]] = {}
    for data, split in sorted({(row.data, row.split) for row in rows}):
        wanted = {row.row for row in rows if (row.data, row.split) == (data, split)}
        place = Path(folder).expanduser() / _FOLDERS[data]
        read = _fer2013 if data == "fer2013" else _parquet
        faces = read(place, split, wanted, size)
        if lacking := wanted - faces.keys():
            raise UserError(f"{place}: split {split} has no row {min(lacking)} of the label table; is it this data set?")
        found |= {(data, split, row): face for row, face in faces.items()}
    faces_in_order = [found[row.data, row.split, row.row] for row in rows]
    return np.stack(faces_in_order) if rows else np.zeros((0, size, size), np.uint8)


def _fer2013(place: Path, split: str, wanted: set[int], size: int) -> dict[int, NDArray[np.uint8]]:
    faces = load_faces(place, split, size=size)  # type: ignore[arg-type]
    names = {f"fer{row:07d}": row for row in wanted}
    return {names[name]: face for name, face in zip(faces.ids, faces.images, strict=True) if name in names}


def _parquet(place: Path, split: str, wanted: set[int], size: int) -> dict[int, NDArray[np.uint8]]:
    file = place / f"{split}.parquet"
    if not file.is_file():
        raise UserError(f"{file}: no such file; --data names the folder that holds {place.name}")
    faces: dict[int, NDArray[np.uint8]] = {}
    for number, row in read_rows(file, ("image",), required=("image",)):
        if number in wanted:
            try:
                faces[number] = decode_face((row["image"] or {}).get("bytes") or b"", size)
            except BadImage as error:
                raise UserError(f"{file} row {number}: {error}") from None
    return faces
