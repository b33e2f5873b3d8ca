"""Answers to blind pairs, as the page saved them or as they were filled in by hand, with the key laid beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from configs.cli import UserError
from configs.wording import printable
from eval.blind.key import Key
from eval.faces.ratings import csv_rows

LEFT, RIGHT, TIE = "left", "right", "tie"
# What the page saves; of these a file needs the first two only.
FIELDS = ("pair", "choice", "set", "rater", "seconds", "answered_at")
_NEEDED = FIELDS[:2]


@dataclass(frozen=True)
class Answers:
    """What R raters said of all P pairs.

    Attributes:
        raters: (R) codes. chosen: (R, P) 0 the face of A, 1 that of B, 0.5 a tie. left: (R, P) 0 the right face, 1 the left one.
    """

    raters: tuple[str, ...]
    chosen: NDArray[np.float64]
    left: NDArray[np.float64]


def read_answers(files: Sequence[Path], key: Key) -> Answers:
    """The answers in CSV files; a rater is who the column ``rater`` names, or else the file's name.

    Raises:
        UserError: answers to other pairs, a pair or a word that does not exist, a pair that one rater answered twice or not at
            all, or a file that cannot be read.
    """
    given: dict[str, dict[int, str]] = {}
    source: dict[str, Path] = {}
    for path in files:
        for place, row in csv_rows(path, _NEEDED, "answers as the page of these pairs saves them"):
            if (row.get("set") or key.name) != key.name:
                raise UserError(f"{place}: answers the pairs {printable(row['set'])}, and these are {key.name}")
            number, choice = row["pair"].strip(), row["choice"].strip().lower()
            if not number.isdecimal() or not 1 <= int(number) <= len(key.left):
                raise UserError(f"{place}: there is no pair {printable(number)!r}; they go from 1 to {len(key.left)}")
            rater = (row.get("rater") or "").strip() or path.stem
            if source.setdefault(rater, path) != path:
                raise UserError(f"{place}: {printable(rater)} has answered in {source[rater]}; give each rater's last file only")
            mine = given.setdefault(rater, {})
            if int(number) in mine:
                raise UserError(f"{place}: {printable(rater)} has answered pair {int(number)} before")
            if choice:
                mine[int(number)] = _known(choice, key, place)
    for rater, mine in given.items():
        missing = [str(number) for number in range(1, len(key.left) + 1) if number not in mine]
        if missing:
            listed = ", ".join(missing[:8]) + (", …" if len(missing) > 8 else "")
            raise UserError(
                f"{source[rater]}: {printable(rater)} has not answered {len(missing)} of {len(key.left)} pairs: {listed}"
            )
    if not given:
        raise UserError(f"{', '.join(map(str, files))}: holds no answer")
    raters = tuple(sorted(given))
    left = np.array([[_SIDE[given[rater][number]] for number in range(1, len(key.left) + 1)] for rater in raters])
    a_left = np.array([side == "A" for side in key.left])
    return Answers(raters, np.where(a_left, 1.0 - left, left), left)


_SIDE = {LEFT: 1.0, RIGHT: 0.0, TIE: 0.5}


def _known(choice: str, key: Key, place: str) -> str:
    if choice == TIE and not key.ties:
        raise UserError(f"{place}: choice: a tie; these pairs were made without --ties, so one of the two must be chosen")
    if choice not in _SIDE:
        known = f"{LEFT} and {RIGHT}" + (f" and {TIE}" if key.ties else "")
        raise UserError(f"{place}: choice: unknown {printable(choice)!r}; known are {known}")
    return choice
