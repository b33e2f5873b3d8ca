"""Files by their names, on disk or in any storage that fsspec knows (``s3://``, ``gs://``, ``memory://``, ``https://``)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from configs.cli import UserError
from engine.storage.atomic import atomic_write_bytes, make_folder


def is_url(name: str) -> bool:
    """Whether ``name`` is for fsspec and no path."""
    return "://" in name


def locate(url: str) -> tuple[Any, str]:
    """The fsspec file system of a URL, and the path in it.

    Raises:
        UserError: an unknown protocol, or its package is missing.
    """
    import fsspec

    try:
        return fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        mend = f"{'install these with pip, or ' if isinstance(error, ImportError) else ''}copy it to disk first"
        raise UserError(f"{url}: cannot be reached from here ({error}); {mend}") from None


@contextmanager
def storage_errors(name: str, act: str = "read") -> Iterator[None]:
    """Whatever storage raises (each kind has errors of its own) as one line that names the file."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
        # Some kinds of storage give the name of the file as the reason.
        reason = "no such file" if isinstance(error, FileNotFoundError) else reason
        raise UserError(f"{name}: cannot be {act} ({' '.join(reason.split())})") from None


class StoredFile:
    """A seekable stream of one file, whose failures are :class:`UserError`.

    Readers of a format report damage by ``OSError`` and the like. A network that fails while they read is something else: what it
    kept back may be there the next time.
    """

    def __init__(self, name: str) -> None:
        """Raises UserError: it cannot be opened."""
        self.name, self.closed = name, False
        with storage_errors(name, "opened"):
            if is_url(name):
                filesystem, path = locate(name)
                self._stream: BinaryIO = filesystem.open(path, "rb")
            else:
                self._stream = open(name, "rb")  # noqa: SIM115 - closed by close()

    def read(self, size: int = -1) -> bytes:
        with storage_errors(self.name):
            return self._stream.read(size)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        with storage_errors(self.name):
            return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def flush(self) -> None:
        """Nothing waits to be written."""

    def close(self) -> None:
        self.closed = True
        self._stream.close()

    def __enter__(self) -> StoredFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class StoredFolder:
    """A folder that files are put into, on disk or under a URL. Each appears complete or not at all.

    An object store gives an object its name when all of it is there; on disk :func:`engine.storage.atomic.draft` does.
    """

    def __init__(self, place: str) -> None:
        """Raises UserError: no file system for such a URL."""
        self.place = place.rstrip("/") or "/"
        self._filesystem: Any = None
        self._root = Path(self.place)
        if is_url(self.place):
            self._filesystem, self._path = locate(self.place)

    def path(self, name: str) -> str:
        """How a file in it is called from outside."""
        return f"{self.place}/{name}"

    def names(self) -> set[str]:
        """What is directly in it: files and folders."""
        return {name.rpartition("/")[2] for name in self._list("")}

    def sizes(self, *folders: str) -> dict[str, int]:
        """Files directly in it, or in ``folders`` below it, with their sizes in bytes; none where a folder is not there."""
        found: dict[str, int] = {}
        for folder in folders or ("",):
            found |= {name: size for name, size in self._list(folder).items() if size is not None}
        return found

    def _list(self, folder: str) -> dict[str, int | None]:
        """Entries by their names from here, files with their sizes."""
        found: dict[str, int | None] = {}
        if self._filesystem is None:
            with (
                storage_errors(self.path(folder), "listed"),
                suppress(FileNotFoundError, NotADirectoryError),
                os.scandir(self._root / folder) as entries,
            ):
                for entry in entries:
                    # Others write here, too: a draft of theirs may be gone by now.
                    with suppress(FileNotFoundError):
                        found[f"{folder}/{entry.name}".lstrip("/")] = entry.stat().st_size if entry.is_file() else None
            return found
        with storage_errors(self.path(folder), "listed"), suppress(FileNotFoundError):
            self._filesystem.invalidate_cache()
            for entry in self._filesystem.ls(f"{self._path}/{folder}".rstrip("/"), detail=True):
                name = entry["name"].rstrip("/").removeprefix(self._path).lstrip("/")
                found[name] = int(entry["size"] or 0) if entry["type"] == "file" else None
        return found

    def read(self, names: Sequence[str]) -> list[bytes]:
        """The content of files, several at a time where that is faster. Raises UserError: one cannot be read."""
        with storage_errors(self.path(names[0] if len(names) == 1 else "")):
            if self._filesystem is None:
                return [(self._root / name).read_bytes() for name in names]
            # Not cat(): it takes brackets in a name for a pattern.
            paths = [f"{self._path}/{name}" for name in names]
            return list(self._filesystem.cat_ranges(paths, None, None, on_error="raise")) if paths else []

    def write(self, name: str, data: bytes) -> None:
        """Create or replace a file. Raises UserError: it cannot be written."""
        if self._filesystem is None:
            make_folder((self._root / name).parent)
            atomic_write_bytes(self._root / name, data)
            return
        with storage_errors(self.path(name), "written"):
            self._filesystem.pipe_file(f"{self._path}/{name}", data)
