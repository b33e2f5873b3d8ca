"""Where weights lie: the files of a weights folder, opened so that nothing outside it is read."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from configs.cli import UserError

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/+[^/]")
WANTED = f"name a folder that holds {CONFIG_FILE} and {WEIGHTS_FILE}"


def checked_folder(folder: str | Path) -> Path:
    text = str(folder)
    if "\0" in text:
        raise UserError(f"{text!r}: a path cannot hold a NUL character; {WANTED}")
    if _URL.match(text):
        raise UserError(f"{text}: nothing is fetched when weights are loaded; download it yourself and {WANTED}")
    # A leading `..` is where the user stands; one after a name climbs out of the folder that was named.
    parts = list(Path(text).parts)
    while parts and parts[0] == "..":
        parts.pop(0)
    if ".." in parts:
        raise UserError(f"{text}: '..' leaves the folder named before it and is refused; {WANTED}")
    return Path(folder)


def open_member(folder: Path, name: str, limit: int) -> tuple[int, int]:
    """Descriptor and size of a regular file that lies in ``folder``, followed through links inside it."""
    path = folder / name
    try:
        if not path.is_symlink() and not path.exists():
            raise UserError(f"{path}: no such file; {_instead(folder)}")
        resolved = path.resolve(strict=True)
        if not resolved.is_relative_to(folder.resolve()):
            raise UserError(f"{path}: is a link that leaves its folder, to {resolved}; replace it by a copy of the file")
        # Not to wait for a writer, should it be a named pipe.
        descriptor = os.open(resolved, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle
        raise UserError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) and status.st_size <= limit:
        return descriptor, status.st_size
    os.close(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise UserError(f"{path}: not a regular file; {WANTED}")
    raise UserError(f"{path}: {status.st_size} bytes, more than the {limit} that are read; this is not of this project")


def read_member(folder: Path, name: str, limit: int) -> bytes:
    descriptor, _ = open_member(folder, name, limit)
    with os.fdopen(descriptor, "rb") as file:
        return file.read(limit)


def _instead(folder: Path) -> str:
    pickles = sorted(entry.name for entry in folder.iterdir() if entry.suffix in PICKLES)
    if pickles:
        return f"{pickles[0]} beside it is a pickle, which can run code when opened, and is refused; {WANTED}"
    return WANTED


def resolve_folder(name: str) -> Path:
    """A weights folder given by path, or by its place under the installed project (``pretrained/encoder``).

    Raises:
        UserError: no such folder in either place.
    """
    place = shipped(name)
    if not place.is_dir():
        raise UserError(f"{name}: no such folder; give one that holds config.json and model.safetensors")
    return place


def shipped(name: str | Path) -> Path:
    """``name`` where it is there or nothing of that name was shipped, else its place under the installed project."""
    own = Path(__file__).resolve().parents[2] / str(name)
    return own if not os.path.exists(str(name)) and own.is_dir() else Path(str(name))
