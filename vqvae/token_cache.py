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
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from configs.cli import UserError
from encoder.atomic import explain_write_error, sync_folder

Arrays = dict[str, NDArray]
Shapes = Mapping[str, tuple[str, tuple[int, ...]]]
_TYPES = {"int16": "I16", "int32": "I32", "float32": "F32"}


def array_sha256(*arrays: np.ndarray) -> str:
    """Digest of shapes, types and contents."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype} {array.shape};".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def cached(path: Path | None, made_from: Mapping[str, str], shapes: Shapes, fill: Callable[[Arrays], None]) -> Arrays:
    """The arrays in ``path`` when they were made from ``made_from``; else made, written there and returned.

    A file that was made from something else, or that is damaged, is replaced: it holds nothing that cannot be made again.

    Args:
        path: a safetensors file; None: the arrays are made in memory.
        shapes: type (``int16``, ``int32`` or ``float32``) and shape of each array.
        fill: is given the arrays and puts the values in.

    Raises:
        UserError: the file cannot be written.
    """
    if path is None:
        arrays: Arrays = {name: np.zeros(shape, dtype) for name, (dtype, shape) in shapes.items()}
        fill(arrays)
        return arrays
    head, starts, total = _layout(shapes, {name: str(value) for name, value in made_from.items()})
    if path.is_file():
        with path.open("rb") as stream:
            same = stream.read(len(head)) == head
        if same and path.stat().st_size == total:
            return _map(path, shapes, starts, "r")
        print(f"{path}: was made from other faces or weights, or is damaged; made again", file=sys.stderr)
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("xb") as stream:
            # Room is taken before it is mapped: a disk that is full shows here, and not as a signal that ends the program.
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(stream.fileno(), 0, total)
            stream.truncate(total)
            stream.write(head)
        arrays = _map(draft, shapes, starts, "r+")
        fill(arrays)
        for array in arrays.values():
            array.flush()  # type: ignore[attr-defined]
        with draft.open("rb+") as stream:
            os.fsync(stream.fileno())
        draft.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {explain_write_error(error)}") from error
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
    return _map(path, shapes, starts, "r")


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


def _map(path: Path, shapes: Shapes, starts: Mapping[str, int], mode: str) -> Arrays:
    return {
        name: np.memmap(path, dtype=dtype, mode=mode, offset=starts[name], shape=shape)  # type: ignore[call-overload]
        for name, (dtype, shape) in shapes.items()
    }
