"""Files of a data set in shards, on disk or in an object store: list them, and read any bytes of them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from configs.cli import UserError

_OPEN_FILES = 128


@dataclass(frozen=True, order=True)
class ShardFile:
    """One file: its path below the place, its size in bytes, and what changes when it is replaced (empty: not known).

    On disk that is the time of its last change in nanoseconds, in an object store its tag or such a time.
    """

    name: str
    size: int
    version: str = ""

    @classmethod
    def of(cls, path: Path, name: str) -> ShardFile:
        """The file at ``path``. Raises OSError: there is none."""
        found = path.stat()
        return cls(name, found.st_size, str(found.st_mtime_ns))


class ShardFiles:
    """The files below ``place``: a folder, or a URL that fsspec understands (``s3://bucket/faces``, ``gs://…``, ``memory://…``).

    Local files are read with ``pread``, which many processes can do at once; remote ones by ranges, many at a time.
    Raises UserError: no such place, or the package that reads such URLs is missing.
    """

    def __init__(self, place: str) -> None:
        self.place = place.rstrip("/")
        self.remote = "://" in place
        self._open: dict[str, int] = {}
        self._filesystem: Any = None
        if not self.remote and not Path(self.place).expanduser().is_dir():
            raise UserError(f"{place}: no such folder")

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": {}, "_filesystem": None}

    def find(self, endings: Sequence[str]) -> list[ShardFile]:
        """Files at any depth with one of the endings, in order of their names."""
        if not self.remote:
            root = Path(self.place).expanduser()
            found = (path for path in root.rglob("*") if path.name.endswith(tuple(endings)) and path.is_file())
            return sorted(ShardFile.of(path, path.relative_to(root).as_posix()) for path in found)
        filesystem, root_name = self._remote()
        try:
            entries = filesystem.find(root_name, detail=True)
        except OSError as error:
            raise UserError(f"{self.place}: cannot be listed ({error})") from None
        files = (
            ShardFile(name.removeprefix(root_name).lstrip("/"), int(entry["size"]), _version(entry))
            for name, entry in entries.items()
        )
        return sorted(file for file in files if file.name.endswith(tuple(endings)))

    def open(self, name: str) -> BinaryIO:
        """A seekable stream of one file."""
        try:
            if not self.remote:
                return (Path(self.place).expanduser() / name).open("rb")
            filesystem, root = self._remote()
            return filesystem.open(f"{root}/{name}", "rb")
        except OSError as error:
            raise UserError(f"{self.place}/{name}: cannot be opened ({error.strerror or error})") from None

    def read(self, ranges: Iterable[tuple[str, int, int]]) -> list[bytes]:
        """The bytes of each ``(name, start, length)``. Raises UserError: a file that is gone, unreadable or too short."""
        wanted = list(ranges)
        try:
            if self.remote:
                filesystem, root = self._remote()
                paths = [f"{root}/{name}" for name, _, _ in wanted]
                starts = [start for _, start, _ in wanted]
                found = filesystem.cat_ranges(paths, starts, [start + length for _, start, length in wanted], on_error="raise")
            else:
                found = [os.pread(self._descriptor(name), length, start) for name, start, length in wanted]
        except OSError as error:
            raise UserError(f"{self.place}: a shard cannot be read ({error})") from None
        for (name, start, length), data in zip(wanted, found, strict=True):
            if len(data) != length:
                raise UserError(f"{self.place}/{name}: ends before byte {start + length}; the shard was cut off or replaced")
        return found

    def _descriptor(self, name: str) -> int:
        found = self._open.get(name)
        if found is None:
            if len(self._open) >= _OPEN_FILES:
                os.close(self._open.pop(next(iter(self._open))))
            found = self._open[name] = os.open(Path(self.place).expanduser() / name, os.O_RDONLY)
        return found

    def _remote(self) -> tuple[Any, str]:
        """The file system and the path in it."""
        import fsspec

        try:
            if self._filesystem is None:
                self._filesystem = fsspec.core.url_to_fs(self.place)
        except (ImportError, ValueError) as error:
            raise UserError(f"{self.place}: cannot be read here ({error})") from None
        return self._filesystem


def _version(entry: Mapping[str, Any]) -> str:
    """What storage calls the state of a file: each kind has its own word for it."""
    return next(
        (str(entry[key]) for key in ("ETag", "etag", "LastModified", "last_modified", "mtime", "created") if entry.get(key)), ""
    )
