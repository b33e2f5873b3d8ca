"""Arguments from outside, checked for what they are: text is no number, 1.5 is no whole number, NumPy numbers are numbers."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, NoReturn

from configs.cli import UserError


def whole(name: str, value: Any) -> int:
    """A whole number of Python, NumPy or torch as an int. Raises UserError: it is none."""
    plain = _scalar(value)
    if isinstance(plain, bool) or not isinstance(plain, Integral):
        refuse(name, "a whole number", value)
    return int(plain)


def real(name: str, value: Any) -> float:
    """A number of Python, NumPy or torch as a float, which may be no finite one. Raises UserError: it is none."""
    plain = _scalar(value)
    if isinstance(plain, bool) or not isinstance(plain, Real):
        refuse(name, "a number", value)
    return float(plain)


def refuse(name: str, wanted: str, value: Any) -> NoReturn:
    """Raises UserError: what must be given for ``name``, and what was."""
    text = " ".join(repr(value).split())
    shown = text if len(text) <= 60 else text[:57] + "..."
    raise UserError(f"{name}: must be {wanted}, got {shown} ({type(value).__name__})")


def _scalar(value: Any) -> Any:
    return value.item() if getattr(value, "ndim", None) == 0 and hasattr(value, "item") else value
