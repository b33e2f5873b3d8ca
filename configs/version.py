"""Which Mimique this is: its version, and the weights that ship with it."""

from __future__ import annotations

import json
import tomllib
from contextlib import suppress
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_SHOWN = 12  # letters of a SHA-256: as many as tell weights apart


def version() -> str:
    """The version that was installed, or that of the checkout this file lies in."""
    try:
        return metadata.version("mimique")
    except metadata.PackageNotFoundError:
        return str(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"])


def shipped_weights() -> dict[str, str]:
    """The first letters of the SHA-256 of each file of weights under ``pretrained/``, by the name of its folder."""
    found = {}
    for config in sorted((ROOT / "pretrained").glob("*/config.json")):
        with suppress(OSError, ValueError, KeyError, TypeError):  # damaged ones are refused where they are used
            found[config.parent.name] = json.loads(config.read_bytes())["sha256"][:_SHOWN]
    return found


def version_text() -> str:
    """What ``--version`` prints."""
    weights = ", ".join(f"{name} {digest}" for name, digest in shipped_weights().items())
    return f"mimique {version()}\nweights in pretrained, by SHA-256: {weights or 'none'}"
