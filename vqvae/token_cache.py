"""Tokens and labels of a data set, kept beside a run and used again only for exactly what they were made from."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from torch import Tensor

from encoder.atomic import atomic_write_bytes


def array_sha256(*arrays: np.ndarray) -> str:
    """Digest of shapes, types and contents."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype} {array.shape};".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def cached(path: Path, made_from: Mapping[str, str], make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """The tensors in ``path`` when they were made from ``made_from``; else made, written there and returned.

    A file that was made from something else, or that is damaged, is replaced: it holds nothing that cannot be made again.

    Raises:
        UserError: the file cannot be written.
    """
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import save

    key = {name: str(value) for name, value in made_from.items()}
    if path.is_file():
        try:
            with safe_open(path, framework="pt") as file:
                if file.metadata() == key:
                    return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            reason = "was made from other faces or weights"
        except SafetensorError as error:
            reason = f"is damaged ({error})"
        print(f"{path}: {reason}; made again", file=sys.stderr)
    made = {name: tensor.contiguous() for name, tensor in make().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write_bytes(path, save(made, metadata=key))
    return made
