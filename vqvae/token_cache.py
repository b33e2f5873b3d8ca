"""Tokens and labels of a data set, kept beside a run and used again only for exactly what they were made from.

The file is mapped into memory, and filled piece by piece: there may be more tokens than memory.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from mmap import mmap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from configs.cli import UserError
from engine.storage.atomic import explain_write_error, sync_folder
from engine.training.agreement import Agreement

if TYPE_CHECKING:
    from accelerate import Accelerator

Arrays = dict[str, NDArray]
Write = Callable[[str, int, NDArray], None]
Fill = Callable[[int, int, Write], None]
Shapes = Mapping[str, tuple[str, tuple[int, ...]]]
_TYPES = {"int16": "I16", "int32": "I32", "float32": "F32"}


def array_sha256(*arrays: np.ndarray) -> str:
    """Digest of shapes, types and contents."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype} {array.shape};".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def cached(
    path: Path | None, made_from: Mapping[str, str], shapes: Shapes, rows: int, fill: Fill, accelerator: Accelerator
) -> Arrays:
    """The arrays in ``path`` when they were made from ``made_from``; else made, written there and returned.

    A file that was made from something else, or that is damaged, is replaced: it holds nothing that cannot be made again.
    Several processes make equal parts of the rows; they must share the folder.

    Args:
        path: a safetensors file; None: the arrays are made in memory, all of them in each process.
        shapes: type (``int16``, ``int32`` or ``float32``) and shape of each array.
        fill: ``fill(first, last, write)`` makes rows first to last - 1, and calls ``write(name, start, values)`` to put
            values into an array, from the start-th element on.

    Raises:
        UserError: the file cannot be written.
    """
    if path is None:
        arrays: Arrays = {name: np.zeros(shape, dtype) for name, (dtype, shape) in shapes.items()}

        def keep(name: str, start: int, values: NDArray) -> None:
            arrays[name].reshape(-1)[start : start + values.size] = values.reshape(-1)

        fill(0, rows, keep)
        return arrays
    head, starts, total = _layout(shapes, {name: str(value) for name, value in made_from.items()})
    agreement, main = Agreement(accelerator), accelerator.is_main_process
    (known,) = agreement.highest(float(main and _is_same(path, head, total)))
    if known:
        return _map(path, shapes, starts)
    draft = path.with_name(f".{path.name}.{hashlib.sha256(head).hexdigest()[:12]}.tmp")
    rank, world = accelerator.process_index, accelerator.num_processes

    def put() -> None:
        with draft.open("rb+") as stream:

            def write(name: str, start: int, values: NDArray) -> None:
                dtype = np.dtype(shapes[name][0])
                # Not through a mapping: two machines that share a folder may not write into one page of it.
                stream.seek(starts[name] + start * dtype.itemsize)
                stream.write(np.ascontiguousarray(values, dtype).data)

            fill(rank * rows // world, (rank + 1) * rows // world, write)
            stream.flush()
            os.fsync(stream.fileno())

    def finish() -> None:
        draft.replace(path)
        sync_folder(path.parent)

    try:
        agreement.end_if(_problem(path, lambda: _reserve(draft, head, total)) if main else None)
        agreement.end_if(_problem(path, put))
        agreement.end_if(_problem(path, finish) if main else None)
    finally:
        if main:
            with suppress(OSError):
                draft.unlink(missing_ok=True)
    return _map(path, shapes, starts)


def _is_same(path: Path, head: bytes, total: int) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        if stream.read(len(head)) == head and path.stat().st_size == total:
            return True
    print(f"{path}: was made from other faces or weights, or is damaged; made again", file=sys.stderr)
    return False


def _problem(path: Path, act: Callable[[], None]) -> str | None:
    """What went wrong in ``act``, for all processes to end together."""
    try:
        act()
    except UserError as error:
        return str(error)
    except OSError as error:
        return f"{path}: cannot be written: {explain_write_error(error)}"
    return None


def _reserve(draft: Path, head: bytes, total: int) -> None:
    draft.parent.mkdir(parents=True, exist_ok=True)
    with draft.open("wb") as stream:
        # A disk that is too full shows here, and not after hours.
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(stream.fileno(), 0, total)
        stream.truncate(total)
        stream.write(head)


def _layout(shapes: Shapes, notes: Mapping[str, str]) -> tuple[bytes, dict[str, int], int]:
    """First bytes of the file, where each array starts, and the size of the whole."""
    header: dict[str, object] = {"__metadata__": dict(notes)}
    offsets: dict[str, int] = {}
    place = 0
    for name, (dtype, shape) in shapes.items():
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        header[name] = {"dtype": _TYPES[dtype], "shape": list(shape), "data_offsets": [place, place + size]}
        offsets[name], place = place, place + size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    head = len(text).to_bytes(8, "little") + text
    return head, {name: len(head) + offset for name, offset in offsets.items()}, len(head) + place


def _map(path: Path, shapes: Shapes, starts: Mapping[str, int]) -> Arrays:
    return {
        name: _Mapped(path, dtype=dtype, mode="r", offset=starts[name], shape=shape) for name, (dtype, shape) in shapes.items()
    }


class _Mapped(np.memmap):
    """An array in a file: another process is sent its place there, and not what may be more than memory holds."""

    def __reduce__(self) -> Any:
        if isinstance(self.base, mmap):
            return _Mapped, (self.filename, self.dtype, self.mode, self.offset, self.shape)
        return np.array(self).__reduce__()
