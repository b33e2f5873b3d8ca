"""Embeddings kept between runs, only if asked for: one safetensors file with the network's name and a hash of each face.

A file holds biometric data, though no names: whoever keeps it answers for it. Faces that have left the gallery leave the
file at the next run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from configs.cli import UserError
from engine.storage.atomic import atomic_write_bytes

_FORMAT = "mimique-embeddings-1"
_MAX_BYTES = 1 << 30


def crop_hash(crop: NDArray[np.uint8]) -> str:
    """SHA-256 of a crop's size and pixels: another file, another cut or another picture has another one."""
    return hashlib.sha256(repr(crop.shape).encode() + np.ascontiguousarray(crop).tobytes()).hexdigest()


def read_embeddings(path: str | Path, embedder: str) -> dict[str, NDArray[np.float32]]:
    """Hash to (D,) vector; empty where there is no file yet.

    Raises UserError: the file is of another embedder, damaged, or not of this project.
    """
    path = Path(path)
    mend = "delete it or name another file"
    if not path.exists():
        return {}
    if not path.is_file() or path.stat().st_size > _MAX_BYTES:
        raise UserError(f"{path}: not a file of embeddings; {mend}")
    try:
        with safe_open(str(path), framework="numpy") as file:
            notes = dict(file.metadata() or {})
            vectors = file.get_tensor("embeddings") if notes.get("format") == _FORMAT else None
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise UserError(f"{path}: cannot be read as embeddings ({' '.join(str(error).split())}); {mend}") from None
    hashes = notes.get("hashes", "").split()
    if vectors is None or vectors.ndim != 2 or vectors.dtype != np.float32 or len(vectors) != len(hashes):
        raise UserError(f"{path}: not a file of embeddings that this release reads; {mend}")
    if notes.get("embedder") != embedder:
        raise UserError(f"{path}: holds embeddings of {notes.get('embedder', 'another network')!r:.80}, not {embedder}; {mend}")
    if not np.isfinite(vectors).all():
        raise UserError(f"{path}: holds values that are not finite; {mend}")
    return dict(zip(hashes, vectors, strict=True))


def write_embeddings(path: str | Path, embedder: str, vectors: Mapping[str, NDArray[np.float32]]) -> None:
    """Write hashes and (D,) vectors, complete or not at all. Raises UserError: the file cannot be written."""
    table = np.stack(list(vectors.values())).astype(np.float32)
    notes = {"format": _FORMAT, "embedder": embedder, "hashes": " ".join(vectors)}
    atomic_write_bytes(path, safetensors.numpy.save({"embeddings": table}, metadata=notes))
