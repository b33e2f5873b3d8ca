"""Which columns of a shard are read: the pictures, and what is kept beside them, such as an id."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from configs.cli import UserError

PICTURE_COLUMN = "image"
# In tars: the name that the members of a sample share.
KEY = "__key__"
_NUMBERS = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float", "double")


@dataclass(frozen=True)
class Columns:
    """What to read of shards.

    Attributes:
        picture: the column of Parquet files that holds pictures, as bytes or as ``{bytes, path}``.
        keep: columns to keep, by their names in the shards, with their names in the result.
        kinds: Arrow types of the kept columns in the result, by their names there; text where nothing is said.
    """

    picture: str = PICTURE_COLUMN
    keep: Mapping[str, str] = field(default_factory=dict)
    kinds: Mapping[str, str] = field(default_factory=dict)

    def kind(self, name: str) -> str:
        """Arrow type of a kept column of the result."""
        return self.kinds.get(name, "string")

    @property
    def kept_kinds(self) -> dict[str, str]:
        """All kept columns of the result, in order, with their Arrow types."""
        return {name: self.kind(name) for name in self.keep.values()}


def parse_keep(asked: Sequence[str], taken: Sequence[str]) -> dict[str, str]:
    """``["id", "emotion=label"]`` as ``{"id": "id", "emotion": "label"}``.

    Args:
        taken: names that the result has for itself.

    Raises:
        UserError: a name is empty, given twice, or taken.
    """
    keep: dict[str, str] = {}
    for text in asked:
        source, _, target = text.partition("=")
        target = target or source
        if not source or source in keep or target in keep.values():
            raise UserError(f"--keep {text}: {'no name' if not source else 'kept twice'}; write COLUMN or COLUMN=NAME")
        if target in taken:
            raise UserError(f"--keep {text}: the table has a column {target} of its own; write --keep {source}=NAME")
        keep[source] = target
    return keep


def kind_of(arrow_type: Any) -> str:
    """The type in which a column of this type is kept: numbers and truth values as they are, the rest as text."""
    return str(arrow_type) if str(arrow_type) in _NUMBERS else "string"


def kept_of_sample(key: str, members: Mapping[str, bytes], keep: Mapping[str, str]) -> dict[str, str | None]:
    """What a sample of a tar has of the columns to keep, as text.

    A column is :data:`KEY`, the ending of a text member (``cls``, ``txt``), or an entry of the member ``json``.
    """
    try:
        content = json.loads(members.get("json", b"{}"))
    except (ValueError, RecursionError):
        content = {}
    entries = content if isinstance(content, dict) else {}
    found: dict[str, str | None] = {}
    for source, target in keep.items():
        if source == KEY:
            found[target] = key
        elif source in members:
            found[target] = members[source].decode(errors="backslashreplace").strip()
        else:
            value = entries.get(source)
            found[target] = value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return found
