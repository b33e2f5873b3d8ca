"""One process at a time in a folder."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path
from typing import IO

from configs.cli import UserError
from engine.storage.atomic import explain_write_error, lock

LOCK = ".lock"


class FolderLock:
    """Keeps other processes, on all machines that see the folder, from working in it.

    The system lets go of it when the process ends, however it ends. Processes that are forked do not have it. A process that
    has it may take it again.

    Args:
        folder: that is locked, by the file ``.lock`` in it.
        work: what others are told that this process does there, such as ``trains``.
    """

    def __init__(self, folder: Path, work: str) -> None:
        self._path, self._work = folder / LOCK, work
        self._file: IO[str] | None = None

    def take(self) -> None:
        """Lock the folder, which must exist.

        Raises:
            UserError: another process has it, whose number is named; or the file cannot be made.
        """
        if self._file is not None:
            return
        try:
            file = self._path.open("a+", encoding="utf-8")
        except OSError as error:
            raise UserError(f"{self._path}: cannot be written: {explain_write_error(error)}") from None
        locked = lock(file)
        if locked is False:
            raise UserError(self._taken(file))
        if locked is None:
            print(f"{self._path.parent}: this file system has no locks; start nothing else in it", file=sys.stderr)
        file.truncate(0)
        file.write(f"{os.getpid()} {platform.node()}\n")
        file.flush()
        self._file = file

    def close(self) -> None:
        """Let others in; the file stays, as one that is removed might be another's already."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _taken(self, file: IO[str]) -> str:
        file.seek(0)
        number, _, machine = file.read().strip().partition(" ")
        file.close()
        who = f"process {number}" if number else "another process"
        where = f" on {machine}" if machine and machine != platform.node() else ""
        return f"{self._path.parent}: {who}{where} {self._work} here; wait until it has ended, or choose another --out"
