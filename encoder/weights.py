"""Weights that are shared: ``model.safetensors`` and the ``config.json`` that made them, loaded strictly.

A folder from a stranger is data, never code: nothing is unpickled, nothing is fetched, and every departure from what the
module expects is refused by name before memory is taken for it.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from configs.cli import UserError
from encoder.atomic import atomic_write_bytes, atomic_write_text
from encoder.plain_json import parse_json

FORMAT_VERSION = 1
WEIGHTS_FILE, CONFIG_FILE = "model.safetensors", "config.json"
KINDS = ("encoder", "tokenizer", "prior")
REQUIRED_KEYS = ("format_version", "kind", "model", "sha256")
OPTIONAL_KEYS = ("preprocessing", "calibration", "training", "metrics", "data")
MAX_FILE_BYTES = 512 << 20
MAX_HEADER_BYTES = 1 << 20
MAX_CONFIG_BYTES = 4 << 20
PICKLE_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
_DTYPES = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32, "I64": torch.int64}


def file_sha256(path: str | Path) -> str:
    """Hex digest of a file's content."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def save_weights(
    folder: str | Path,
    tensors: Mapping[str, Tensor],
    config: Mapping[str, Any],
    *,
    half: bool = True,
    keep_float32: Collection[str] = (),
) -> None:
    """Write ``folder/model.safetensors`` and ``folder/config.json``, each complete or not at all.

    Floating tensors are stored in float16 when ``half``, except those named in ``keep_float32``. ``config`` needs
    ``kind`` and ``model``; the format version and the hash of the weights are added.

    Raises:
        UserError: tensors that share memory, values that are not finite (also after halving), or an unknown key.
    """
    from safetensors.torch import save

    folder = Path(folder)
    unknown = set(config) - {"kind", "model", *OPTIONAL_KEYS}
    if unknown:
        raise UserError(f"{folder}: {sorted(unknown)[0]!r} is no key of {CONFIG_FILE}; known are {', '.join(OPTIONAL_KEYS)}")
    stored: dict[str, Tensor] = {}
    owners: dict[int, str] = {}
    for name, tensor in tensors.items():
        owner = owners.setdefault(tensor.untyped_storage().data_ptr(), name) if tensor.numel() else name
        if owner != name:
            raise UserError(f"{folder}: tensors {owner!r} and {name!r} share memory; save one of them, or a copy")
        value = tensor.detach().cpu().contiguous()
        if half and value.is_floating_point() and name not in keep_float32:
            value = value.half()
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise UserError(f"{folder}: tensor {name!r} is not finite; weights like these are not saved")
        stored[name] = value
    folder.mkdir(parents=True, exist_ok=True)
    data = save(stored)
    atomic_write_bytes(folder / WEIGHTS_FILE, data)
    full = {"format_version": FORMAT_VERSION, **config, "sha256": hashlib.sha256(data).hexdigest()}
    atomic_write_text(folder / CONFIG_FILE, json.dumps(full, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def _member(folder: Path, name: str) -> Path:
    """A file directly in ``folder``, which must not be reached through a link that leaves it."""
    path = folder / name
    if not path.is_file():
        raise UserError(f"{folder}: {name} is missing; a folder of weights holds {CONFIG_FILE} and {WEIGHTS_FILE}")
    if path.resolve().parent != folder.resolve():
        raise UserError(f"{path}: is a link that leaves the folder; put the file itself there")
    return path


def checked_folder(folder: str | Path) -> Path:
    """``folder`` as a path.

    Raises:
        UserError: an address, a path with ``..`` or NUL, no such folder, or one that holds pickles only.
    """
    text = str(folder)
    if "://" in text:
        raise UserError(f"{text}: weights are not fetched from addresses; download the folder and give its path")
    if "\0" in text or ".." in Path(text).parts:
        raise UserError(f"{text!r}: a path of weights must not hold '..' or NUL; give the folder itself")
    path = Path(text)
    if not path.is_dir():
        raise UserError(f"{path}: no such folder of weights")
    if not (path / WEIGHTS_FILE).exists():
        pickles = sorted(file.name for file in path.iterdir() if file.suffix in PICKLE_SUFFIXES)
        if pickles:
            raise UserError(f"{path / pickles[0]}: pickled weights can run code and are not loaded; convert to safetensors")
    return path


def read_config(folder: str | Path, kind: str) -> dict[str, Any]:
    """The content of ``config.json``, checked for format, kind and keys (``model`` is for the caller to validate).

    Raises:
        UserError: anything missing, unknown or of a newer format, by name.
    """
    path = checked_folder(folder)
    file = _member(path, CONFIG_FILE)
    if file.stat().st_size > MAX_CONFIG_BYTES:
        raise UserError(f"{file}: is larger than {MAX_CONFIG_BYTES >> 20} MiB; this is no configuration")
    config = parse_json(file.read_bytes(), str(file))
    if not isinstance(config, dict):
        raise UserError(f"{file}: must hold one JSON object")
    for key in REQUIRED_KEYS:
        if key not in config:
            raise UserError(f"{file}: key {key!r} is missing; save the weights again")
    unknown = sorted(set(config) - {*REQUIRED_KEYS, *OPTIONAL_KEYS})
    if unknown:
        raise UserError(f"{file}: unknown key {unknown[0]!r}; known are {', '.join((*REQUIRED_KEYS, *OPTIONAL_KEYS))}")
    version = config["format_version"]
    if version != FORMAT_VERSION:
        raise UserError(f"{file}: format_version {version!r} is not {FORMAT_VERSION}; use the release that wrote it")
    if config["kind"] not in KINDS:
        raise UserError(f"{file}: unknown kind {config['kind']!r}; known are {', '.join(KINDS)}")
    if config["kind"] != kind:
        raise UserError(f"{file}: holds weights of kind {config['kind']!r}, but {kind!r} is needed here")
    if not isinstance(config["sha256"], str):
        raise UserError(f"{file}: sha256 must be text")
    return config


def _header(file: Path) -> dict[str, Any]:
    """The table of tensors at the start of a safetensors file, read without reading the tensors."""
    size = file.stat().st_size
    if size > MAX_FILE_BYTES:
        raise UserError(f"{file}: {size >> 20} MiB is more than the limit of {MAX_FILE_BYTES >> 20} MiB")
    with open(file, "rb") as stream:
        start = stream.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= length <= min(MAX_HEADER_BYTES, size - 8):
            raise UserError(f"{file}: is damaged or no safetensors file (header of {length} bytes); fetch it again")
        header = parse_json(stream.read(length), f"{file} (header)")
    if not isinstance(header, dict) or not all(isinstance(entry, dict) for entry in header.values()):
        raise UserError(f"{file}: is no safetensors file (header is no table of tensors)")
    header.pop("__metadata__", None)
    return header


def _check_header(file: Path, header: Mapping[str, Any], expected: Mapping[str, Tensor]) -> None:
    missing, unknown = sorted(set(expected) - set(header)), sorted(set(header) - set(expected))
    if missing:
        raise UserError(f"{file}: tensor {missing[0]!r} is missing ({len(missing)} in all); these are other weights")
    if unknown:
        raise UserError(f"{file}: unknown tensor {unknown[0]!r} ({len(unknown)} in all); these are other weights")
    for name, tensor in expected.items():
        shape, dtype = header[name].get("shape"), _DTYPES.get(str(header[name].get("dtype")))
        if shape != list(tensor.shape):
            raise UserError(f"{file}: tensor {name!r} has shape {shape}, but the model needs {list(tensor.shape)}")
        if dtype is None or dtype.is_floating_point != tensor.is_floating_point():
            raise UserError(f"{file}: tensor {name!r} is of type {header[name].get('dtype')}, not {tensor.dtype} or narrower")


def load_weights(folder: str | Path, module: nn.Module, config: Mapping[str, Any]) -> None:
    """Fill ``module`` from ``folder``; stored half precision is cast up to the module's own types.

    Args:
        config: what :func:`read_config` returned for the same folder; its hash must match the file.

    Raises:
        UserError: a tensor missing, unknown, of another shape or type, not finite; a file too large, damaged, or changed
            since the configuration was written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    file = _member(checked_folder(folder), WEIGHTS_FILE)
    expected = module.state_dict()
    _check_header(file, _header(file), expected)
    found = file_sha256(file)
    if found != config["sha256"]:
        raise UserError(f"{file}: has SHA-256 {found[:12]}…, but {CONFIG_FILE} names {config['sha256'][:12]}…; fetch both again")
    try:
        tensors = load_file(file)
    except SafetensorError as error:
        raise UserError(f"{file}: is damaged ({error}); fetch it again") from None
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise UserError(f"{file}: tensor {name!r} holds values that are not finite; do not use these weights")
    module.load_state_dict({name: tensor.to(expected[name].dtype) for name, tensor in tensors.items()}, strict=True)
