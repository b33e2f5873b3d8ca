"""Tables of an experiment: Markdown for people, CSV and JSON for programs, aligned text for a terminal."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from engine.storage.atomic import atomic_write_text, write_json

NOTHING = "–"


def write_tables(
    folder: Path, name: str, content: Mapping[str, Any], columns: Sequence[str], rows: Sequence[Sequence[Any]]
) -> str:
    """Write ``name.json`` (everything), ``name.csv`` and ``name.md`` (the table and the content's ``notes``).

    A cell is text, a number, None, or a figure with ``value`` and ``interval``, which takes three columns of the CSV.

    Returns:
        the Markdown.
    """
    text = "\n".join([markdown(columns, rows), "", *map(str, content.get("notes", ()))]) + "\n"
    flat = [dict(pair for column, cell in zip(columns, row, strict=True) for pair in _spread(column, cell)) for row in rows]
    write_files(folder, name, content, flat, text)
    return text


def write_files(folder: Path, name: str, content: Mapping[str, Any], lines: Sequence[Mapping[str, Any]], text: str) -> None:
    """Write ``name.json`` of the content, ``name.csv`` of the lines and ``name.md`` of the text; JSON first makes the folder."""
    write_json(folder / f"{name}.json", content)
    stream = io.StringIO()
    table = csv.DictWriter(stream, list(dict.fromkeys(key for line in lines for key in line)), lineterminator="\n")
    table.writeheader()
    table.writerows(lines)
    atomic_write_text(folder / f"{name}.csv", stream.getvalue())
    atomic_write_text(folder / f"{name}.md", text)


def markdown(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """The rows under their columns, each cell as :func:`write_tables` takes it."""
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    return "\n".join([*lines, *(f"| {' | '.join(map(_cell, row))} |" for row in rows)])


def aligned(cells: Sequence[object], columns: Sequence[str], first: int = 14) -> str:
    """One line of a table in a terminal: the first cell to the left, the others to the right, as wide as their titles."""
    rest = (f" {cell!s:>{max(len(title), 7)}}" for cell, title in zip(cells[1:], columns[1:], strict=True))
    return f"{cells[0]!s:<{first}}" + "".join(rest)


def figure_text(figure: Mapping[str, Any], digits: int = 2) -> str:
    """A figure with ``value`` and ``interval`` in words: ``0.71 (0.60 to 0.81)``."""
    if figure["value"] is None:
        return NOTHING
    low, high = figure["interval"]
    return f"{figure['value']:.{digits}f}" + ("" if low is None else f" ({low:.{digits}f} to {high:.{digits}f})")


def _spread(column: str, cell: Any) -> list[tuple[str, Any]]:
    if not isinstance(cell, Mapping):
        return [(column, cell)]
    low, high = cell["interval"]
    return [(column, cell["value"]), (f"{column}, low", low), (f"{column}, high", high)]


def _cell(cell: Any) -> str:
    if cell is None:
        return NOTHING
    if isinstance(cell, Mapping):
        return figure_text(cell, 3)
    return f"{cell:,}" if isinstance(cell, int) else str(cell)
