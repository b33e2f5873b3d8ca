"""Ratings that people gave with a set's rating sheet, beside what was asked of each face."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from configs.cli import UserError
from configs.wording import printable
from encoder.emotions import EMOTION_NAMES
from generation.kit.files import MANIFEST, PARQUET, TABLE
from generation.kit.rating_sheet import ANSWERS, BELIEVABILITY, FIELDS, INTENSITY


@dataclass(frozen=True)
class Ratings:
    """What R raters said of F faces, of which each was rated once at least.

    Attributes:
        raters: (R) codes. codes: (F) of the faces. asked: (F,) emotion, enum order. level: (F,) intensity asked, above 0 to 1.
        answer: (R, F) index into ``ANSWERS``; -1: not rated. intensity, believability: (R, F), nan where not rated.
    """

    raters: tuple[str, ...]
    codes: tuple[str, ...]
    asked: NDArray[np.int64]
    level: NDArray[np.float64]
    answer: NDArray[np.int64]
    intensity: NDArray[np.float64]
    believability: NDArray[np.float64]


def read_ratings(files: Sequence[Path], folder: Path) -> Ratings:
    """The ratings in CSV files that the sheet of the set in ``folder`` saved.

    Raises:
        UserError: no such file or set, ratings of another set, a face or an answer that does not exist, or two ratings of one
            face by one rater.
    """
    name, faces = _faces(folder)
    given: dict[tuple[str, str], tuple[int, int, int]] = {}
    for path in files:
        for place, row in csv_rows(path, FIELDS, "files that a rating sheet saved"):
            if row["set"] != name:
                raise UserError(f"{place}: rates the set {printable(row['set'])}, and {folder} is {name}")
            if row["code"] not in faces:
                raise UserError(f"{place}: {folder} has no face {printable(row['code'])}")
            key = (row["rater"], row["code"])
            if key in given:
                raise UserError(f"{place}: {printable(key[0])} has rated {key[1]} before; give each rater's last file only")
            given[key] = (_answer(row, place), _number(row, "intensity", INTENSITY, place),
                          _number(row, "believability", BELIEVABILITY, place))  # fmt: skip
    if not given:
        raise UserError(f"{', '.join(map(str, files))}: holds no rating")
    raters = tuple(sorted({rater for rater, _ in given}))
    rated = {code for _, code in given}
    codes = tuple(code for code in faces if code in rated)
    answer = np.full((len(raters), len(codes)), -1)
    numbers = np.full((2, len(raters), len(codes)), np.nan)
    for (rater, code), (what, intensity, believability) in given.items():
        cell = raters.index(rater), codes.index(code)
        answer[cell], numbers[0][cell], numbers[1][cell] = what, intensity, believability
    asked, level = zip(*(faces[code] for code in codes), strict=True)
    return Ratings(raters, codes, np.array(asked), np.array(level), answer, numbers[0], numbers[1])


def _faces(folder: Path) -> tuple[str, dict[str, tuple[int, float]]]:
    """The set's name, and by the code of each face its emotion and intensity."""
    try:
        name = str(json.loads((folder / MANIFEST).read_bytes())["set"])
        rows: list[dict[str, Any]]
        if (folder / TABLE).is_file():
            with (folder / TABLE).open(encoding="utf-8", newline="") as stream:
                rows = list(csv.DictReader(stream))
        else:
            import pyarrow.parquet as pq

            rows = pq.read_table(folder / PARQUET, columns=["code", "emotion", "intensity"]).to_pylist()
        return name, {row["code"]: (EMOTION_NAMES.index(row["emotion"]), float(row["intensity"])) for row in rows}
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"{folder}: is no set of python -m generation.dataset --people") from None


def csv_rows(path: Path, fields: Sequence[str], origin: str) -> Iterator[tuple[str, dict[str, str]]]:
    """The rows of a CSV file, each after where it stands. Programs of some countries part fields by semicolons.

    Args:
        fields: that every row must have. origin: the files that are wanted, for errors.

    Raises:
        UserError: the file cannot be read, is none of these, or a row is cut off.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            first = stream.readline()
            reader = csv.DictReader(chain((first,), stream), delimiter=";" if ";" in first else ",")
            missing = [field for field in fields if field not in (reader.fieldnames or ())]
            if missing:
                raise UserError(f"{path}: has no column {missing[0]}; give {origin}")
            for number, row in enumerate(reader, 2):
                if any(row[field] is None for field in fields):
                    raise UserError(f"{path}, line {number}: is cut off")
                yield f"{path}, line {number}", row
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {(error.strerror or str(error)).lower()}") from None
    except (UnicodeDecodeError, csv.Error):
        raise UserError(f"{path}: is no CSV file; give {origin}") from None


def _answer(row: dict[str, str], place: str) -> int:
    if row["emotion"] not in ANSWERS:
        raise UserError(f"{place}: emotion: unknown {printable(row['emotion'])!r}; known are {', '.join(ANSWERS)}")
    return ANSWERS.index(row["emotion"])


def _number(row: dict[str, str], name: str, ends: tuple[int, int], place: str) -> int:
    low, high = ends
    if not row[name].isdecimal() or not low <= int(row[name]) <= high:
        raise UserError(f"{place}: {name}: must be a whole number from {low} to {high}, got {printable(row[name])!r}")
    return int(row[name])
