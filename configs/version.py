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


def shipped_weights() -> dict[str, tuple[str, str]]:
    """Of each folder of weights under ``pretrained/`` the first letters of the file's SHA-256, and the version that wrote it.

    The version is empty where the folder does not say.
    """
    found = {}
    for config in sorted((ROOT / "pretrained").glob("*/config.json")):
        with suppress(OSError, ValueError, KeyError, TypeError):  # damaged ones are refused where they are used
            content = json.loads(config.read_bytes())
            found[config.parent.name] = content["sha256"][:_SHOWN], str(content.get("version", ""))
    return found


def version_text() -> str:
    """What ``--version`` prints."""
    told = [f"{name} {digest}{f' ({by})' if by else ''}" for name, (digest, by) in shipped_weights().items()]
    return (
        f"mimique {version()}\nweights in pretrained, by SHA-256 (and the version that wrote them): {', '.join(told) or 'none'}"
    )
