"""How many faces of whom: by emotion, or by emotion and what people are to look like; as names, as text, as a table."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from configs.cli import UserError
from configs.values import refuse, whole
from configs.wording import one_line
from encoder.emotions import EMOTION_NAMES, Emotion, parse_emotion
from generation.request import MAX_COUNT
from vqvae.attributes import ATTRIBUTE_NAMES, ATTRIBUTES, AttributeName

MAX_CELLS = 4096
MAX_TABLE_BYTES = 2**18
_MOST_LETTERS = 200
_EMOTION, _FACES = "emotion", "faces"
# No word stands for classes of two attributes.
_HOMES: Mapping[str, AttributeName] = {word: name for name in ATTRIBUTE_NAMES for word in ATTRIBUTES[name]}
_WRITE = "write e.g. disgust:4000,fear:2000 or fear/female/white:20, or name a table, a file that ends with .csv"


@dataclass(frozen=True)
class Cell:
    """Faces that are counted together: an emotion, and what people are to look like, in the order of the attributes."""

    emotion: Emotion
    told: tuple[tuple[AttributeName, str], ...] = ()

    @property
    def name(self) -> str:
        """``"fear"`` or ``"fear/female/white"``."""
        return "/".join((self.emotion.label, *(word for _, word in self.told)))

    @property
    def attributes(self) -> tuple[AttributeName, ...]:
        """Those that it names."""
        return tuple(name for name, _ in self.told)

    @property
    def place(self) -> tuple[int, ...]:
        """Where it stands among others."""
        return (int(self.emotion), *(ATTRIBUTES[name].index(word) for name, word in self.told))


def cell_of(name: str) -> Cell:
    """The cell of ``"fear"``, ``"peur"`` or ``"fear/white/female"``. Raises UserError: an unknown emotion or class."""
    if len(name) > _MOST_LETTERS:
        raise UserError(f"counts: {one_line(name, 40)!r} is no emotion, and no emotion with classes")
    emotion, *words = (part.strip() for part in name.split("/"))
    told: dict[AttributeName, str] = {}
    for word in words:
        attribute = _HOMES.get(word.lower())
        if attribute is None:
            known = "; ".join(f"{each}: {', '.join(ATTRIBUTES[each])}" for each in ATTRIBUTE_NAMES)
            raise UserError(f"counts: {one_line(name, 80)}: no class is called {one_line(word, 40)!r}; there are {known}")
        if attribute in told:
            raise UserError(f"counts: {one_line(name, 80)}: names two classes of {attribute}")
        told[attribute] = word.lower()
    try:
        return Cell(parse_emotion(emotion), tuple((each, told[each]) for each in ATTRIBUTE_NAMES if each in told))
    except UserError as error:
        raise UserError(f"counts: {error}") from None


def check_counts(counts: Mapping[str, int]) -> dict[str, int]:
    """The same, under the names of cells, in one order.

    Raises:
        UserError: no faces, an unknown name, the same twice, attributes that are not named everywhere, or no such number.
    """
    if not counts:
        raise UserError(f"counts: give faces for at least one of {', '.join(EMOTION_NAMES)}, got none")
    if len(counts) > MAX_CELLS:
        raise UserError(f"counts: at most {MAX_CELLS} different ones, got {len(counts)}")
    found: dict[Cell, int] = {}
    for name, value in counts.items():
        if not isinstance(name, str):
            refuse("counts", "by names such as 'fear' or 'fear/white'", name)
        cell, count = cell_of(name), whole(f"counts: {one_line(name, 80)}", value)
        if cell in found:
            raise UserError(f"counts: {cell.name} is named twice")
        if not 1 <= count <= MAX_COUNT:
            raise UserError(f"counts: {cell.name}: must lie between 1 and {MAX_COUNT}, got {count}")
        found[cell] = count
    if len({cell.attributes for cell in found}) > 1:
        one, other = (next(iter(found)), next(cell for cell in found if cell.attributes != next(iter(found)).attributes))
        raise UserError(f"counts: {one.name} and {other.name} do not name the same attributes; name the same of each emotion")
    return {cell.name: found[cell] for cell in sorted(found, key=lambda cell: cell.place)}


def spread(counts: Mapping[str, int], each: Sequence[AttributeName]) -> dict[str, int]:
    """So many of each class of the attributes ``each``, of ages from 3-9 up. Raises UserError: no attribute, or one that is
    named already."""
    for name in each:
        if name not in ATTRIBUTES:
            raise UserError(f"each: {one_line(str(name), 40)!r} is none of {', '.join(ATTRIBUTES)}")
    if not each:
        return dict(counts)
    from generation.settle import even_classes

    words = [[ATTRIBUTES[name][number] for number in even_classes(name)] for name in dict.fromkeys(each)]
    if len(counts) * len(list(itertools.product(*words))) > MAX_CELLS:
        raise UserError(f"counts: at most {MAX_CELLS} different ones; name fewer attributes in each")
    return {"/".join((name, *chosen)): count for name, count in counts.items() for chosen in itertools.product(*words)}


def read_counts(given: str | Path | Mapping[str, int]) -> dict[str, int]:
    """Counts as people give them: by name, as ``"disgust:4000,peur/white:20"``, or the path of a CSV (:func:`table_counts`).

    For what stands on a command line or in a program; a path from elsewhere is not to come here.

    Raises:
        UserError: it cannot be read, or says the same twice.
    """
    if isinstance(given, Mapping):
        return dict(given)
    if isinstance(given, Path) or given.lower().endswith(".csv"):
        return table_counts(_rows(Path(given)), str(given))
    found: dict[str, int] = {}
    for part in given.split(","):
        name, _, number = part.rpartition(":")
        _add(found, cell_of(name or number), _number("--counts", name or number, number if name else ""))
    return found


def table_counts(rows: Iterable[Sequence[object]], source: str = "counts") -> dict[str, int]:
    """The counts of a table, whose first row has names.

    One column is called ``emotion``, others as attributes (``group``, …) hold their classes. Every other column holds counts:
    ``faces``, or, called as a class (``white``) or several (``white/female``), counts of these. Empty and 0 is none.

    Raises:
        UserError: something in it is not understood.
    """
    head, *body = [[str("" if value is None else value).strip() for value in row] for row in rows] or [[]]
    names = [value.lower() for value in head]
    if _EMOTION not in names:
        raise UserError(f"{source}: its first line must name a column {_EMOTION}, and others such as {_FACES}, group or white")
    found: dict[str, int] = {}
    for line, row in enumerate(body, 2):
        if not any(row):
            continue
        if len(row) != len(names):
            raise UserError(f"{source}, line {line}: has {len(row)} columns, and the first line {len(names)}")
        by_name = dict(zip(names, row, strict=True))
        who = "/".join([by_name[_EMOTION], *(by_name[name] for name in ATTRIBUTE_NAMES if by_name.get(name))])
        for name, value in by_name.items():
            if name == _EMOTION or name in ATTRIBUTES or value in ("", "0"):
                continue
            cell = cell_of(who if name == _FACES else f"{who}/{name}")
            _add(found, cell, _number(f"{source}, line {line}", cell.name, value))
    return found


def _rows(path: Path) -> list[list[str]]:
    try:
        if path.stat().st_size > MAX_TABLE_BYTES:
            raise UserError(f"{path}: is larger than {MAX_TABLE_BYTES // 1024} KiB, which no table of counts is")
        text = path.read_text(encoding="utf-8-sig")
        # Programs for tables write what the country's comma leaves them.
        first = text.partition("\n")[0]
        return list(csv.reader(text.splitlines(), delimiter=next((sign for sign in "\t;" if sign in first), ",")))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: is no table in UTF-8: {one_line(str(error), 100)}") from None


def _number(source: str, name: str, text: str) -> int:
    with suppress(ValueError):
        # Programs for tables write 20.0.
        if (number := float(text)).is_integer():
            return int(number)
    raise UserError(f"{source}: {name}: {one_line(text, 40)!r} is no whole number; {_WRITE}")


def _add(found: dict[str, int], cell: Cell, count: int) -> None:
    if cell.name in found:
        raise UserError(f"counts: {cell.name} is named twice")
    found[cell.name] = count
