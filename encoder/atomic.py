"""Files that appear complete or not at all: written beside, flushed to disk, renamed into place."""

from __future__ import annotations

import errno
import os
import secrets
from contextlib import suppress
from pathlib import Path

from configs.cli import UserError

_FULL = (errno.ENOSPC, errno.EDQUOT)


def write_synced(path: str | Path, data: bytes) -> None:
    """Write a new file and force it to disk; not atomic by itself.

    Raises:
        OSError: the file exists, or the system refuses.
    """
    with open(path, "xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(path: str | Path) -> None:
    """Force a folder's entries (new names, renames) to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def explain_write_error(error: OSError) -> str:
    """What stopped a write and how to mend it, as the tail of a sentence."""
    if error.errno in _FULL:
        return "the disk is full; free some space or choose another place"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{(error.strerror or str(error)).lower()}; choose a place that you may write to"
    return (error.strerror or str(error)).lower()


def atomic_write_bytes(path: str | Path, data: bytes) -> None:
    """Replace or create ``path`` (its folder must exist); after a failure or a crash the former content is untouched.

    Raises:
        UserError: the disk is full, the folder is missing, or writing is not permitted.
    """
    path = Path(path)
    beside = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        try:
            write_synced(beside, data)
            os.replace(beside, path)
        except BaseException:
            with suppress(OSError):
                beside.unlink()
            raise
        sync_folder(path.parent)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {explain_write_error(error)}") from error


def atomic_write_text(path: str | Path, text: str) -> None:
    """As :func:`atomic_write_bytes`, in UTF-8 with the newlines as given."""
    atomic_write_bytes(path, text.encode())
