"""JSON from a file that nobody vouches for: plain data only, every key once, every number finite."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from configs.cli import UserError

# Keys by which configuration libraries import code: Hydra, jsonpickle, Transformers; and Python's own special names.
_CODE_KEYS = ("auto_map",)
_CODE_PREFIXES = ("_", "py/")
_MAX_DEPTH = 32


def parse_json(data: bytes, where: str) -> Any:
    """The content of a UTF-8 JSON document; ``where`` names it in errors.

    Raises:
        UserError: not UTF-8, not JSON, nested too deeply, a key twice in one object, NaN or an infinity.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                raise UserError(f"{where}: key {key!r} stands twice in one object; keep one of the two")
            found[key] = value
        return found

    def finite(text: str) -> float:
        value = float(text)
        if not math.isfinite(value):
            raise UserError(f"{where}: {text} is not a finite number")
        return value

    try:
        return json.loads(data.decode(), object_pairs_hook=unique, parse_float=finite, parse_constant=finite)
    except UnicodeDecodeError:
        raise UserError(f"{where}: not UTF-8 text; the file is damaged or not JSON") from None
    except RecursionError:
        raise UserError(f"{where}: nested too deeply") from None
    except ValueError as error:  # JSONDecodeError, and integers of more digits than Python converts
        raise UserError(f"{where}: not valid JSON: {error}") from None


def require_plain(value: Any, where: str, key: str = "", depth: int = 0) -> None:
    """Refuse, by dotted key, whatever is not plain data (text, finite numbers, true, false, null, lists, objects).

    Raises:
        UserError: another type, a key that is no text or by which libraries import code (``_target_``, ...), or more
            than 32 levels.
    """
    place = f"{where}: {key}" if key else where
    if depth > _MAX_DEPTH:
        raise UserError(f"{where}: {key.partition('.')[0]}: nested more than {_MAX_DEPTH} levels deep")
    if isinstance(value, Mapping):
        for name, item in value.items():
            inner = f"{key}.{name}" if key else str(name)
            if not isinstance(name, str):
                raise UserError(f"{where}: {inner}: keys must be text, got {type(name).__name__}")
            if name in _CODE_KEYS or name.startswith(_CODE_PREFIXES):
                raise UserError(f"{where}: {inner}: a key of this form names code to import and is refused")
            require_plain(item, where, inner, depth + 1)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            require_plain(item, where, f"{key}[{index}]", depth + 1)
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise UserError(f"{place}: {value} is not a finite number")
    elif value is not None and type(value) not in (str, int, bool):
        raise UserError(f"{place}: {type(value).__name__} is no plain data; use text, numbers, lists, objects")
