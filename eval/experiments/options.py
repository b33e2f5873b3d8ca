"""Options that several experiments have, and how their values are read."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from configs.cli import UserError

DEFAULT = "default: %(default)s"
# Settings of generation as FaceRequest names them, left at its defaults where they are not given.
SETTINGS: dict[str, dict[str, Any]] = {
    "guidance": {"type": float},
    "autoguidance": {"type": float},
    "encoder_guidance": {"type": float},
    "steps": {"type": int},
    "temperature": {"type": float},
    "threshold": {"type": float},
    "look": {"choices": ("photo", "fer2013", "faces128", "drawn")},
    "identity": {"action": "store_const", "const": True},
}


def add_data(parser: argparse.ArgumentParser, splits: Sequence[str] = (), split: str = "valid", *, drawn: bool = True) -> None:
    """``--data`` and, with ``splits``, ``--split``."""
    parser.add_argument("--data", required=True, help="folder with FER-2013" + (', or "drawn"' if drawn else ""))
    if splits:
        parser.add_argument("--split", choices=splits, default=split, help=f"faces that are measured ({DEFAULT})")


def add_networks(parser: argparse.ArgumentParser, weights: str = "pretrained") -> None:
    """``--weights``, ``--judge`` and ``--device``."""
    parser.add_argument("--weights", default=weights, help=f"what is measured ({DEFAULT})")
    parser.add_argument("--judge", default="pretrained/judge", help=f"second judge ({DEFAULT})")
    parser.add_argument("--device", default="auto", help=f"auto, cpu, cuda, cuda:1, … ({DEFAULT})")


def add_out(parser: argparse.ArgumentParser, name: str, *, sheet: str = "") -> None:
    """``--out`` and, with its help text, ``--sheet``."""
    parser.add_argument("--out", type=Path, default=Path("out") / name, help=f"folder of the results ({DEFAULT})")
    if sheet:
        parser.add_argument("--sheet", type=Path, help=sheet)


def add_settings(parser: argparse.ArgumentParser, *names: str) -> None:
    """Settings of generation, by their names in ``SETTINGS``."""
    for name in names:
        spellings = [f"--{name.replace('_', '-')}", *(["--source"] if name == "look" else [])]
        parser.add_argument(*spellings, dest=name, help="as of generation.sample", **SETTINGS[name])


def given_settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """Those of :func:`add_settings` that the command line names."""
    return {name: value for name in SETTINGS if (value := getattr(arguments, name, None)) is not None}


def numbers(text: str) -> tuple[float, ...]:
    """``"1,2.5,4"`` as numbers, each once; for argparse."""
    try:
        return tuple(dict.fromkeys(float(part) for part in text.split(",")))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of numbers like 1,2.5,4") from None


def words(text: str) -> tuple[str, ...]:
    """``"fear,anger"`` as words, each once; for argparse."""
    return tuple(dict.fromkeys(part.strip() for part in text.split(",")))


def whole(option: str, value: float) -> int:
    """A number that has to be whole.

    Raises:
        UserError: it is not; the message names ``option``.
    """
    if value % 1 != 0:  # also of nan and inf
        raise UserError(f"{option}: {value:g} is no whole number")
    return int(value)


def at_least(arguments: argparse.Namespace, **least: float) -> None:
    """Refuse options below their least value; one that is not given (None) is no mistake.

    Raises:
        UserError: the first of them, by name.
    """
    for name, low in least.items():
        value = getattr(arguments, name)
        smallest = math.inf if value is None else min(value) if isinstance(value, list | tuple) else value
        if not smallest >= low:
            raise UserError(f"--{name.replace('_', '-')} {smallest:g}: give at least {low:g}")


def parse_emotions(names: Sequence[str] | None, *, without: str) -> tuple[str, ...]:
    """Labels of the named emotions, each once; without names all but ``without``.

    Raises:
        UserError: an unknown name.
    """
    from encoder.emotions import EMOTION_NAMES, parse_emotion

    if names is None:
        return tuple(name for name in EMOTION_NAMES if name != without)
    return tuple(dict.fromkeys(parse_emotion(name).label for name in names))
