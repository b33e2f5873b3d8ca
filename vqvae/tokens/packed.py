"""Faces as one small file: tokens in as few bits as they need, and what the prior is told. For machines far from the faces.

115,000 grids of 64 positions with four codes of 512 are 33 MB.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from configs.cli import UserError
from encoder.emotions import NUM_EMOTIONS
from engine.storage.atomic import atomic_write_bytes
from vqvae.config import TokenizerConfig
from vqvae.tokens.store import TokenStore

KIND = "mimique tokens"
_PIECE = 1 << 14
_SUFFIX = ".safetensors"


def packed_file(folder: Path, split: str) -> Path:
    """Where the faces of a split are in ``folder``."""
    return folder / f"{split}{_SUFFIX}"


def pack(store: TokenStore, path: Path, codebook_size: int, tokenizer_sha256: str) -> int:
    """Write ``store`` to ``path``; the size in bytes. Labels are rounded to half precision.

    Args:
        tokenizer_sha256: the ``encoding_sha256`` of the tokens' maker.

    Raises:
        UserError: the file cannot be written.
    """
    bits = max(1, (codebook_size - 1).bit_length())
    rows = store.tokens.reshape(2 * len(store), -1)
    pieces = [_to_bits(np.asarray(rows[start : start + _PIECE]), bits) for start in range(0, len(rows), _PIECE)]
    about = {"kind": KIND, "tokenizer": tokenizer_sha256, "codebook_size": codebook_size, "shape": list(store.tokens.shape)}
    arrays: dict[str, NDArray[Any]] = {
        "tokens": np.concatenate(pieces),
        "labels": np.asarray(store.labels, np.float16),
        "sources": np.array(store.sources, np.int8),
        "attributes": np.array(store.attributes, np.int8),
    }
    atomic_write_bytes(path, safetensors.numpy.save(arrays, {"about": json.dumps(about)}))
    return path.stat().st_size


def unpack(path: Path, tokenizer: TokenizerConfig, tokenizer_sha256: str, attributes: int) -> TokenStore:
    """The faces that :func:`pack` wrote, in memory.

    Args:
        attributes: how many of them the prior is told.

    Raises:
        UserError: no such file, a damaged one, or one of other tokens or attributes.
    """
    try:
        with safe_open(path, "numpy") as file:
            about = json.loads((file.metadata() or {}).get("about", "{}"))
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; python -m vqvae.pack writes it") from None
    except (OSError, SafetensorError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}); copy it again") from None
    if not isinstance(about, dict) or about.get("kind") != KIND:
        raise UserError(f"{path}: holds no packed tokens; python -m vqvae.pack writes them")
    if about.get("tokenizer") != tokenizer_sha256:
        raise UserError(f"{path}: its tokens are of another tokenizer than the one in this run")
    count, bits = len(arrays.get("labels", ())), max(1, (tokenizer.codebook_size - 1).bit_length())
    width = tokenizer.grid**2 * tokenizer.groups
    wanted = {
        "tokens": ("uint8", (2 * count, -(-width * bits // 8))),
        "labels": ("float16", (count, NUM_EMOTIONS)),
        "sources": ("int8", (count,)),
        "attributes": ("int8", (count, attributes)),
    }
    found = {name: (str(array.dtype), array.shape) for name, array in arrays.items()}
    if found != wanted:
        raise UserError(f"{path}: holds {found}, but {wanted} is needed: other attributes or another tokenizer, or damaged")
    rows = [_from_bits(arrays["tokens"][start : start + _PIECE], bits, width) for start in range(0, 2 * count, _PIECE)]
    tokens = np.concatenate(rows) if rows else np.zeros((0, width), np.int16)
    if tokens.size and int(tokens.max()) >= tokenizer.codebook_size:
        raise UserError(f"{path}: has codes beyond {tokenizer.codebook_size - 1}; it is damaged, copy it again")
    labels = arrays["labels"].astype(np.float32)
    labels /= np.where(labels.any(axis=1), labels.sum(axis=1), 1.0)[:, None]
    shape = (2, count, tokenizer.grid**2, tokenizer.groups)
    return TokenStore(tokens.reshape(shape), labels, arrays["sources"], None, arrays["attributes"])


def _to_bits(rows: NDArray, bits: int) -> NDArray[np.uint8]:
    """(N, W) codes to (N, ceil(W * bits / 8)) bytes, the highest bit of each code first."""
    places = np.arange(bits - 1, -1, -1)
    split = (rows[..., None].astype(np.int64) >> places) & 1
    return np.packbits(split.reshape(len(rows), -1).astype(np.uint8), axis=1)


def _from_bits(rows: NDArray[np.uint8], bits: int, width: int) -> NDArray:
    split = np.unpackbits(rows, axis=1, count=width * bits).reshape(len(rows), width, bits)
    values = np.zeros((len(rows), width), np.int32)
    for place in range(bits):
        values = 2 * values + split[..., place]
    return values.astype(np.int16 if bits < 16 else np.int32)
