"""Rows of a long comparison, kept as they are finished: none is made twice, none is mixed with those of other settings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from configs.cli import UserError
from engine.storage.atomic import atomic_write_text, explain_write_error, write_json


def claim_folder(folder: Path, name: str, settings: str) -> None:
    """Make ``folder`` the one of these ``settings``, which its file ``name`` then holds; rows that are there are kept.

    Raises:
        UserError: it holds rows of other settings, or cannot be written.
    """
    described = folder / name
    try:
        if described.is_file() and described.read_text(encoding="utf-8") != settings:
            raise UserError(f"{folder}: holds rows of other settings (see {described}); choose another --out")
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: cannot be used: {explain_write_error(error)}") from None
    atomic_write_text(described, settings)


def keep_row(path: Path, made_from: Mapping[str, Any], figures: Mapping[str, Any]) -> None:
    """Write the figures of a finished row, with everything that decides them, for :func:`kept_row` to find."""
    write_json(path, {"made_from": made_from, "figures": figures})


def kept_row(path: Path, made_from: Mapping[str, Any]) -> dict[str, Any] | None:
    """The figures of a row that was finished before; None where there are none.

    Raises:
        UserError: they were made from something else, or the file is damaged.
    """
    if not path.is_file():
        return None
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        former, figures = dict(stored["made_from"]), dict(stored["figures"])
    except (ValueError, TypeError, KeyError):
        raise UserError(f"{path}: is damaged; delete it and it is measured again") from None
    wanted = json.loads(json.dumps(made_from))
    if former != wanted:
        changed = ", ".join(key for key in wanted if former.get(key) != wanted[key])
        raise UserError(f"{path}: was made with other {changed}; choose another --out or delete {path.parent}")
    return figures
