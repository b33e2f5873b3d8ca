"""The original ``fer2013.csv``, and ``fer2013new.csv`` with FER+ votes for the same rows.

``fer2013.csv`` has the columns emotion, pixels and Usage; Kaggle's ``icml_face_data.csv`` is the same table with other
order and blanks before the names. Row ``i`` of ``fer2013new.csv`` belongs to row ``i`` of ``fer2013.csv``.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from configs.cli import UserError
from encoder.data.face_set import FaceCollector, FaceSet, OnError, Split, parse_label
from encoder.data.ferplus import VOTE_COLUMNS
from encoder.pictures.face_images import fit_square

CSV_NAMES = ("fer2013.csv", "icml_face_data.csv")
VOTES_NAME = "fer2013new.csv"
_USAGES: dict[str, Split] = {"training": "train", "publictest": "valid", "privatetest": "test"}
_MAX_LINE = 2**20
_MIN_SIDE = 8


@dataclass(frozen=True)
class _Votes:
    """One row of fer2013new.csv; ``problem`` says why its votes cannot be used."""

    usage: str
    image_name: str
    counts: tuple[int, ...] | None
    problem: str = ""


def read_csv_split(path: Path, split: Split, *, on_error: OnError, size: int | None) -> FaceSet:
    """One split of ``fer2013.csv``, with votes where ``fer2013new.csv`` lies beside it.

    With votes, the rows to which FER+ gives no image name ("not a face") are left out, as its authors do. Rows are
    counted from 0 below the header, as in FER+ (``fer0000012`` is row 12). Raises UserError: no such table, missing
    columns, votes that are not aligned with it, or a bad row while ``on_error`` is ``refuse``.
    """
    collector = FaceCollector("fer2013", size=size, on_error=on_error)
    beside = path.parent / VOTES_NAME
    votes = _read_votes(beside) if beside.exists() else None
    lines = _lines(path)
    column = _columns(path, lines, ("emotion", "pixels", "usage"))
    row = -1
    not_faces = 0
    for row, fields in enumerate(lines):
        name, place = f"fer{row:07d}", f"{path} row {row}"
        if fields is None or len(fields) <= max(column.values()):
            collector.problem(place, "has too few columns" if fields else "is no readable line of a CSV table")
            continue
        usage = fields[column["usage"]].strip()
        row_split = _USAGES.get(usage.lower())
        if row_split is None:
            collector.problem(place, f"Usage {usage[:40]!r} is not Training, PublicTest or PrivateTest")
            continue
        if row_split != split:
            continue
        voted = None
        if votes is not None:
            if row >= len(votes):
                raise UserError(f"{beside}: has {len(votes)} rows, fewer than {path.name}: get the two from one source")
            voted = votes[row]
            _check_aligned(beside, row, usage, voted)
            if voted.problem:
                collector.problem(f"{beside} row {row}", voted.problem)
                continue
            if not voted.image_name:
                not_faces += 1
                continue
        try:
            label = parse_label(fields[column["emotion"]])
            face = _parse_pixels(fields[column["pixels"]], collector.size)
        except (UserError, ValueError) as error:
            collector.problem(place, str(error))
            continue
        collector.add(face, name, place=place, label=label, votes=None if voted is None else voted.counts)
    if votes is not None and len(votes) != row + 1:
        raise UserError(f"{beside}: has {len(votes)} rows, {path.name} has {row + 1}: get the two from one source")
    if not_faces:
        collector.notes.append(f"{not_faces} rows of {split} that FER+ marks as not a face are left out")
    return collector.finish()


def _check_aligned(path: Path, row: int, usage: str, voted: _Votes) -> None:
    # A table that is shifted by a row would give every face another face's votes: no row of it can be trusted.
    if voted.usage and voted.usage.lower() != usage.lower():
        raise UserError(f"{path} row {row}: Usage is {voted.usage[:40]!r} but {usage!r} in the pixels' table: not aligned")
    if voted.image_name and Path(voted.image_name).stem != f"fer{row:07d}":
        raise UserError(f"{path} row {row}: names {voted.image_name[:40]!r}, not fer{row:07d}.png: rows are missing or moved")


def _lines(path: Path) -> Iterator[list[str] | None]:
    """Fields of each non-blank line, None for a line that cannot be split.

    A record is one line: a stray quote spoils its own row and never swallows the rows after it.
    """
    try:
        total = path.stat().st_size
        bar = tqdm(total=total, desc=f"reading {path.name}", unit="B", unit_scale=True, delay=1, leave=False, disable=None)
        with bar, path.open("r", encoding="utf-8-sig", errors="replace", newline="\n") as stream:
            while line := stream.readline(_MAX_LINE):
                bar.update(len(line))
                whole = line.endswith("\n") or len(line) < _MAX_LINE
                while not whole:
                    rest = stream.readline(_MAX_LINE)
                    whole = rest.endswith("\n") or not rest
                    line = ""
                if not line:
                    yield None
                elif line.strip():
                    try:
                        yield next(csv.reader([line], skipinitialspace=True), None)
                    except csv.Error:
                        yield None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None


def _columns(path: Path, lines: Iterator[list[str] | None], needed: Sequence[str]) -> dict[str, int]:
    header = [name.strip().lower() for name in next(lines, None) or []]
    for name in needed:
        if header.count(name) != 1:
            shown = ", ".join(repr(title[:20]) for title in header[:12]) or "nothing"
            raise UserError(f"{path}: the first line must name the column {name!r} once; it has {shown}")
    return {name: header.index(name) for name in needed}


def _read_votes(path: Path) -> list[_Votes]:
    lines = _lines(path)
    names = tuple(name.lower() for name in VOTE_COLUMNS)
    column = _columns(path, lines, ("usage", "image name", *names))
    result: list[_Votes] = []
    for fields in lines:
        if fields is None or len(fields) <= max(column.values()):
            result.append(_Votes("", "", None, "has too few columns"))
            continue
        texts = [fields[column[name]].strip() for name in names]
        usage, image_name = fields[column["usage"]].strip(), fields[column["image name"]].strip()
        if all(text.isascii() and text.isdigit() and len(text) <= 3 for text in texts):
            result.append(_Votes(usage, image_name, tuple(int(text) for text in texts)))
        else:
            result.append(_Votes(usage, image_name, None, f"votes are not whole numbers: {','.join(texts)[:60]}"))
    return result


def _parse_pixels(text: str, size: int) -> NDArray[np.uint8]:
    words = text.split()
    side = int(len(words) ** 0.5)
    if side < _MIN_SIDE or side * side != len(words):
        raise ValueError(f"{len(words)} pixels, not a square number (48x48 are 2304)")
    try:
        values = np.array(words, np.int64)
    except (ValueError, OverflowError):
        raise ValueError("pixels are not all whole numbers") from None
    if values.min() < 0 or values.max() > 255:
        raise ValueError(f"pixels must lie between 0 and 255, got {values.min()} to {values.max()}")
    pixels = values.astype(np.uint8).reshape(side, side)
    return pixels if side == size else fit_square(Image.fromarray(pixels), size)
