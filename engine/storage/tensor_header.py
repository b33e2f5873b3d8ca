"""The header of a safetensors file, read and checked before any of its tensors is allocated.

Layout: 8 bytes little-endian length, that many bytes of JSON (name -> dtype, shape, data_offsets), then the data. See
https://github.com/huggingface/safetensors#format.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

import torch

from configs.cli import UserError
from engine.storage.plain_json import parse_json

MAX_HEADER_BYTES = 1 << 20
_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


@dataclass(frozen=True)
class TensorEntry:
    """What the header says of one tensor."""

    dtype: torch.dtype
    shape: tuple[int, ...]


def read_header(file: BinaryIO, size: int, where: str) -> dict[str, TensorEntry]:
    """Entries by tensor name; ``size`` is that of the whole file in bytes.

    Raises:
        UserError: truncated, over-long, a header over 1 MiB, an entry that is malformed or of an unknown dtype, or
            tensors that overlap or leave gaps.
    """
    prefix = file.read(8)
    length = int.from_bytes(prefix, "little")
    if len(prefix) < 8 or length > size - 8:
        raise UserError(f"{where}: truncated, or not a safetensors file; copy it again")
    if length > MAX_HEADER_BYTES:
        raise UserError(f"{where}: its header has {length} bytes, more than the {MAX_HEADER_BYTES} allowed")
    header = parse_json(file.read(length), f"{where} (header)")
    if not isinstance(header, dict):
        raise UserError(f"{where}: its header is no JSON object; not a safetensors file")
    header.pop("__metadata__", None)
    entries: dict[str, TensorEntry] = {}
    spans: list[tuple[int, int, str]] = []
    for name, fields in header.items():
        entries[name], span = _entry(fields, f"{where}: tensor {name}")
        spans.append((*span, name))
    end = 0
    for start, stop, name in sorted(spans):
        if start != end:
            raise UserError(f"{where}: tensor {name} overlaps another or leaves a gap before it")
        end = stop
    if 8 + length + end != size:
        raise UserError(f"{where}: {size} bytes, but its header describes {8 + length + end}; copy it again")
    return entries


def _entry(fields: Any, where: str) -> tuple[TensorEntry, tuple[int, int]]:
    if not isinstance(fields, Mapping) or set(fields) != {"dtype", "shape", "data_offsets"}:
        raise UserError(f"{where}: its header entry is malformed")
    dtype, shape, offsets = fields["dtype"], fields["shape"], fields["data_offsets"]
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise UserError(f"{where}: dtype {dtype!r} is not one of {', '.join(_DTYPES)}")
    if not _sizes(shape) or not _sizes(offsets) or len(offsets) != 2:
        raise UserError(f"{where}: its shape or offsets are malformed")
    found = TensorEntry(_DTYPES[dtype], tuple(shape))
    if offsets[1] - offsets[0] != math.prod(shape) * found.dtype.itemsize:
        raise UserError(f"{where}: its offsets do not fit shape {shape} of {dtype}")
    return found, (offsets[0], offsets[1])


def _sizes(value: Any) -> bool:
    return isinstance(value, list) and all(type(item) is int and 0 <= item < 1 << 48 for item in value)
