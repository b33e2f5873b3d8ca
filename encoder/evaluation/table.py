"""Tables as people and as programs read them: Markdown and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def as_markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; no text can break its row."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(plain, line))} |" for line in lines)


def as_csv(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """A CSV table with a header; what a row lacks is empty, what is no column is left out."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def plain(text: str) -> str:
    """Text on one line, its bars escaped."""
    return " ".join(text.split()).replace("|", "\\|")
