"""Files that appear complete or not at all: written beside, flushed to disk, renamed into place."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, BinaryIO

from configs.cli import UserError

_MOST_NAME_BYTES = 255
_FULL = (errno.ENOSPC, errno.EDQUOT)
# Some network file systems have no locks.
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL)
_DRAFT = re.compile(r"\..+\.\d+-[0-9a-f]{8}\.\w+")


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


def make_folder(folder: str | Path, option: str = "--out") -> None:
    """Make ``folder``, which ``option`` named, and those above it.

    Raises:
        UserError: it cannot be made, or nothing may be written in it.
    """
    require_place(folder, option)
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: cannot be made: {explain_write_error(error)}; choose another {option}") from error


def require_place(folder: str | Path, option: str = "--out") -> None:
    """Make sure, before work whose result is to go there, that a folder can be made or written in. Makes nothing.

    Args:
        option: of the command line that named it.

    Raises:
        UserError: a file is in the way, or nothing may be written there.
    """
    place = Path(folder).absolute()
    while not os.path.lexists(place):
        place = place.parent
    if not place.is_dir():
        raise UserError(f"{folder}: cannot be made a folder: {place} is a file; choose another {option}")
    if not os.access(place, os.W_OK | os.X_OK):
        raise UserError(f"{folder}: nothing may be written in {place}; choose another {option}")


def require_new(paths: Iterable[str | Path | None], overwrite: bool, option: str = "--out", asked: str = "--overwrite") -> None:
    """The one rule of overwriting, for every program that writes what it was told to, before its work.

    A file that is there is replaced only with ``--overwrite``. Programs whose same command goes on where it was stopped have
    rules of their own: they keep what is done and refuse what is not theirs.

    Args:
        paths: that will be written; of results in a folder the one that stands for all of them. None: not asked for.
        overwrite: whether that option was given.
        option: of the command line, or argument, that named the place.
        asked: how one asks for ``overwrite``; from Python ``overwrite=True``.

    Raises:
        UserError: a file is there; or a folder has that name, or its own folder cannot be used.
    """
    for path in paths:
        if path is None:
            continue
        if Path(path).is_dir():
            raise UserError(f"{path}: is a folder; name a file in it with {option}")
        require_place(Path(path).absolute().parent, option)
        if os.path.lexists(path) and not overwrite:
            raise UserError(f"{path}: is there already; choose another {option}, or replace it with {asked}")


def free_folder(folder: Path) -> Path:
    """``folder``, or the first of ``folder-2``, ``folder-3``, ... that is not there: for results whose place was not named.

    Raises:
        UserError: there are ten thousand.
    """
    names = (folder.name, *(f"{folder.name}-{number}" for number in range(2, 10_000)))
    for name in names:
        if not os.path.lexists(folder.with_name(name)):
            return folder.with_name(name)
    raise UserError(f"{folder.parent} is full of results like this one; choose a place with an option")


def short_name(name: str, spare: int) -> str:
    """``name``, cut so that ``spare`` bytes can be added to it before it is longer than file systems take."""
    data = os.fsencode(name)
    most = _MOST_NAME_BYTES - spare
    # Without the part of a sign that the cut may leave.
    return name if len(data) <= most else data[:most].decode(errors="ignore")


@contextmanager
def draft(path: str | Path, ending: str = ".tmp") -> Iterator[BinaryIO]:
    """A new file beside ``path`` (its folder must exist) that takes its name when the block ends well.

    After an error in the block, or a crash, the former content is untouched.

    Args:
        ending: of the draft's name, which is hidden; for writers that choose a format by it.

    Raises:
        UserError: the disk is full, the folder is missing, or writing is not permitted.
    """
    path = Path(path)
    beside = path.with_name(f".{short_name(path.name, 64)}.{os.getpid()}-{secrets.token_hex(4)}{ending}")
    try:
        try:
            with open(beside, "xb") as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(beside, path)
        except BaseException:
            with suppress(OSError):
                beside.unlink()
            raise
        sync_folder(path.parent)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {explain_write_error(error)}") from error


@contextmanager
def growing(path: str | Path) -> Iterator[BinaryIO]:
    """As :func:`draft`, for rows that are worth having without their end: until then the file is called ``NAME.partial``.

    It is seen, and stays after an error or a crash. The next that writes to ``path`` begins it anew.

    Raises:
        UserError: as for :func:`draft`, or another process is writing it.
    """
    path = Path(path)
    beside = path.with_name(f"{path.name}.partial")
    try:
        with open(beside, "ab") as stream:
            if lock(stream) is False:
                raise UserError(f"{beside}: another process is writing it; wait until it has ended, or choose another name")
            stream.truncate(0)
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
            os.replace(beside, path)
        sync_folder(path.parent)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {explain_write_error(error)}; {beside} holds what came before") from error


def lock(file: IO[Any]) -> bool | None:
    """Keep other processes from locking an open file until it is closed; False: another has it; None: no locks there."""
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return None if error.errno in _NO_LOCKS else False
    return True


def clear_drafts(folder: Path) -> None:
    """Remove what :func:`draft` left in ``folder``, and in folders below it, when its process was killed.

    Nothing else may be writing there.
    """
    for path in folder.rglob(".*"):
        if _DRAFT.fullmatch(path.name):
            with suppress(OSError):
                path.unlink()


def atomic_write_bytes(path: str | Path, data: bytes) -> None:
    """Replace or create ``path``, as :func:`draft` does."""
    with draft(path) as stream:
        stream.write(data)


def atomic_write_text(path: str | Path, text: str) -> None:
    """As :func:`atomic_write_bytes`, in UTF-8 with the newlines as given."""
    atomic_write_bytes(path, text.encode())


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write ``content`` as indented JSON, complete or not at all."""
    make_folder(path.parent)
    atomic_write_text(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + os.linesep)
