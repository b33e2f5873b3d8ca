"""Arrays of a data set, kept beside a run and used again only for exactly what they were made from.

They are NumPy files that are mapped into memory and filled piece by piece: there may be more tokens than memory.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from configs.cli import UserError
from engine.storage.atomic import explain_write_error, sync_folder, write_json
from engine.storage.plain_json import parse_json
from engine.training.agreement import Agreement

if TYPE_CHECKING:
    from accelerate import Accelerator

Arrays = dict[str, NDArray]
Write = Callable[[str, int, NDArray], None]
Fill = Callable[[int, int, Write], None]
Shapes = Mapping[str, tuple[str, tuple[int, ...]]]
_NOTES = "made_from.json"


def array_sha256(*arrays: np.ndarray) -> str:
    """Digest of shapes, types and contents."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype} {array.shape};".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def cached(
    folder: Path | None, made_from: Mapping[str, str], shapes: Shapes, rows: int, fill: Fill, accelerator: Accelerator
) -> Arrays:
    """The arrays in ``folder`` when they were made from ``made_from``; else made, written there and returned.

    A folder that was made from something else, or that is damaged, is replaced: it holds nothing that cannot be made again.
    Several processes make equal parts of the rows; they must share the folder.

    Args:
        folder: None: the arrays are made in memory, all of them in each process.
        shapes: type and shape of each array.
        fill: ``fill(first, last, write)`` makes rows first to last - 1, and calls ``write(name, start, values)`` to put
            values into an array, from the start-th element on.

    Raises:
        UserError: the files cannot be written.
    """
    if folder is None:
        arrays: Arrays = {name: np.zeros(shape, dtype) for name, (dtype, shape) in shapes.items()}

        def keep(name: str, start: int, values: NDArray) -> None:
            arrays[name].reshape(-1)[start : start + values.size] = values.reshape(-1)

        fill(0, rows, keep)
        return arrays
    notes = {**made_from, "arrays": {name: [dtype, list(shape)] for name, (dtype, shape) in shapes.items()}}
    agreement, main = Agreement(accelerator), accelerator.is_main_process
    (known,) = agreement.highest(float(main and _is_same(folder, notes, shapes)))
    if not known:
        draft = folder.with_name(f".{folder.name}.{hashlib.sha256(json.dumps(notes).encode()).hexdigest()[:12]}.tmp")
        rank, world = accelerator.process_index, accelerator.num_processes
        try:
            agreement.end_if(_problem(folder, lambda: _reserve(draft, shapes)) if main else None)
            agreement.end_if(
                _problem(folder, lambda: _put(draft, shapes, rank * rows // world, (rank + 1) * rows // world, fill))
            )
            agreement.end_if(_problem(folder, lambda: _finish(draft, folder, notes)) if main else None)
        finally:
            if main:
                shutil.rmtree(draft, ignore_errors=True)
    return mapped(folder, tuple(shapes))


def mapped(folder: Path, names: tuple[str, ...]) -> Arrays:
    """The arrays in ``folder``, read from the disk as they are asked for."""
    return {name: open_memmap(folder / f"{name}.npy", mode="r") for name in names}


def _is_same(folder: Path, notes: Mapping[str, Any], shapes: Shapes) -> bool:
    if not folder.is_dir():
        return False
    try:
        found = mapped(folder, tuple(shapes))
        right = all(found[name].dtype == dtype and found[name].shape == shape for name, (dtype, shape) in shapes.items())
        if right and parse_json((folder / _NOTES).read_bytes(), str(folder / _NOTES)) == notes:
            return True
    except (OSError, ValueError, UserError):
        pass
    print(f"{folder}: was made from other faces or weights, or is damaged; made again", file=sys.stderr)
    return False


def _problem(folder: Path, act: Callable[[], None]) -> str | None:
    """What went wrong in ``act``, for all processes to end together."""
    try:
        act()
    except UserError as error:
        return str(error)
    except OSError as error:
        return f"{folder}: cannot be written: {explain_write_error(error)}"
    return None


def _reserve(draft: Path, shapes: Shapes) -> None:
    draft.mkdir(parents=True, exist_ok=True)
    for name, (dtype, shape) in shapes.items():
        path = draft / f"{name}.npy"
        open_memmap(path, mode="w+", dtype=dtype, shape=shape).flush()
        # A disk that is too full shows here, and not after hours.
        if hasattr(os, "posix_fallocate"):
            with path.open("rb+") as stream:
                os.posix_fallocate(stream.fileno(), 0, path.stat().st_size)


def _put(draft: Path, shapes: Shapes, first: int, last: int, fill: Fill) -> None:
    """Make rows ``first`` to ``last - 1`` and write them to the disk."""
    streams = {name: (draft / f"{name}.npy").open("rb+") for name in shapes}
    starts = {name: array.offset for name, array in mapped(draft, tuple(shapes)).items()}  # type: ignore[attr-defined]

    def write(name: str, start: int, values: NDArray) -> None:
        dtype = np.dtype(shapes[name][0])
        # Not through a mapping: two machines that share a folder may not write into one page of it.
        streams[name].seek(starts[name] + start * dtype.itemsize)
        streams[name].write(np.ascontiguousarray(values, dtype).data)

    try:
        fill(first, last, write)
        for stream in streams.values():
            stream.flush()
            os.fsync(stream.fileno())
    finally:
        for stream in streams.values():
            stream.close()


def _finish(draft: Path, folder: Path, notes: Mapping[str, Any]) -> None:
    write_json(draft / _NOTES, notes)
    shutil.rmtree(folder, ignore_errors=True)
    draft.replace(folder)
    sync_folder(folder.parent)
