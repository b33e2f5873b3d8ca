"""Weights as they are shared: a folder with ``config.json`` and ``model.safetensors``, written whole and read strictly.

A weights folder may come from anyone, so whatever is not exactly what the module expects is refused by name. No pickle is
opened, nothing is fetched, no code is imported.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Collection, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from configs.cli import UserError
from engine.storage.atomic import atomic_write_bytes, make_folder
from engine.storage.plain_json import parse_json, require_plain

FORMAT_VERSION = 1
CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
MAX_CONFIG_BYTES = 1 << 20
MAX_WEIGHTS_BYTES = 512 << 20
REQUIRED_KEYS = ("format_version", "kind", "model", "sha256")
OPTIONAL_KEYS = ("preprocessing", "calibration", "training", "metrics", "data")
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/+[^/]")
_HASH = re.compile(r"[0-9a-f]{64}")


def save_weights(
    folder: str | Path,
    tensors: Mapping[str, Tensor],
    config: Mapping[str, Any],
    *,
    half: bool = True,
    keep_float32: Collection[str] = (),
) -> None:
    """Write ``folder/model.safetensors``, then ``folder/config.json``, each complete or not at all.

    Args:
        tensors: a ``state_dict``; any device.
        config: ``kind`` (text), ``model`` (object) and any of ``preprocessing``, ``calibration``, ``training``,
            ``metrics``, ``data`` (objects). ``format_version`` and ``sha256`` are added.
        half: store floats wider than 16 bits as float16.
        keep_float32: names, or patterns such as ``*.running_var``, of tensors that ``half`` leaves alone.

    Raises:
        UserError: a tensor that is not finite (after rounding, too) or shares memory with another, a ``keep_float32``
            that names no tensor, a config that :func:`read_config` would refuse, or a failed write.
    """
    folder = _checked_folder(folder)
    _refuse_shared(tensors)
    for pattern in keep_float32:
        if not any(fnmatchcase(name, pattern) for name in tensors):
            raise UserError(f"keep_float32: {pattern!r} names none of the {len(tensors)} tensors")
    stored: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        value = tensor.detach().cpu().contiguous()
        _refuse_not_finite(value, f"{folder}: tensor {name}", "nothing was saved")
        kept = any(fnmatchcase(name, pattern) for pattern in keep_float32)
        if half and not kept and value.is_floating_point() and value.dtype.itemsize > 2:
            value = value.half()
            _refuse_not_finite(value, f"{folder}: tensor {name}", "too large for float16; name it in keep_float32")
        stored[name] = value
    data = safetensors.torch.save(stored)
    full = {**config, "format_version": FORMAT_VERSION, "sha256": hashlib.sha256(data).hexdigest()}
    where = f"{folder / CONFIG_FILE} (to be written)"
    _check_config(full, where)
    order = [key for key in (*REQUIRED_KEYS, *OPTIONAL_KEYS) if key in full]
    text = json.dumps({key: full[key] for key in order}, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    if len(data) > MAX_WEIGHTS_BYTES or len(text.encode()) > MAX_CONFIG_BYTES:
        raise UserError(f"{folder}: too large to be loaded again ({len(data)} bytes of weights); nothing was saved")
    make_folder(folder, "folder")
    atomic_write_bytes(folder / WEIGHTS_FILE, data)
    atomic_write_bytes(folder / CONFIG_FILE, text.encode())


def read_config(folder: str | Path, kind: str | Collection[str]) -> dict[str, Any]:
    """The checked content of ``folder/config.json``, plain data. Sections are for the caller to check further.

    Args:
        kind: the kind that is needed, or those that are welcome.

    Raises:
        UserError: no such folder, a URL, files missing or outside the folder, only pickles, not plain JSON, another
            ``kind`` or ``format_version``, or a top-level key that is missing or unknown.
    """
    kinds = (kind,) if isinstance(kind, str) else tuple(kind)
    folder = _checked_folder(folder)
    if not folder.is_dir():
        if folder.suffix in _PICKLES:
            raise UserError(f"{folder}: a pickle can run code when it is opened and is refused; {_WANTED}")
        raise UserError(f"{folder}: {'is a file' if folder.exists() else 'no such folder'}; {_WANTED}")
    data = _read_member(folder, CONFIG_FILE, MAX_CONFIG_BYTES)
    where = str(folder / CONFIG_FILE)
    config = parse_json(data, where)
    _check_config(config, where)
    if config["kind"] not in kinds:
        needed = " or ".join(repr(each) for each in kinds)
        raise UserError(f"{where}: kind is {config['kind']!r}, but {needed} is needed here; choose another folder")
    return dict(config)


def load_weights(folder: str | Path, module: nn.Module, config: Mapping[str, Any]) -> None:
    """Copy the tensors of ``folder/model.safetensors`` into ``module``, all or none of them.

    Narrower floats are cast up to the module's; every other difference is refused.

    Args:
        config: what :func:`read_config` returned for the same folder; its ``sha256`` must be that of the file.

    Raises:
        UserError: the file is missing, outside the folder, too large, damaged or not the one of ``config``, or a tensor
            is missing, unknown, of another shape or dtype, or not finite. ``module`` is unchanged then.
    """
    folder = _checked_folder(folder)
    where = str(folder / WEIGHTS_FILE)
    data = _read_member(folder, WEIGHTS_FILE, MAX_WEIGHTS_BYTES)
    if hashlib.sha256(data).hexdigest() != config["sha256"]:
        raise UserError(f"{where}: its SHA-256 is not the one in {CONFIG_FILE}; the two are not of one save, copy both again")
    try:
        tensors = safetensors.torch.load(data)
    except (SafetensorError, ValueError, KeyError) as error:  # KeyError: a type that torch does not have
        raise UserError(f"{where}: not a valid safetensors file: {error}; copy it again") from None
    _compare(tensors, module.state_dict(), where)
    for name, tensor in tensors.items():
        _refuse_not_finite(tensor, f"{where}: tensor {name}", "these weights are unusable")
    module.load_state_dict(tensors)


def file_sha256(path: str | Path) -> str:
    """Hexadecimal SHA-256 of a file's content.

    Raises:
        UserError: the file cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error


_WANTED = f"name a folder that holds {CONFIG_FILE} and {WEIGHTS_FILE}"


def _checked_folder(folder: str | Path) -> Path:
    text = str(folder)
    if "\0" in text:
        raise UserError(f"{text!r}: a path cannot hold a NUL character; {_WANTED}")
    if _URL.match(text):
        raise UserError(f"{text}: nothing is fetched when weights are loaded; download it yourself and {_WANTED}")
    # A leading `..` is where the user stands; one after a name climbs out of the folder that was named.
    parts = list(Path(text).parts)
    while parts and parts[0] == "..":
        parts.pop(0)
    if ".." in parts:
        raise UserError(f"{text}: '..' leaves the folder named before it and is refused; {_WANTED}")
    return Path(folder)


def _open_member(folder: Path, name: str, limit: int) -> tuple[int, int]:
    """Descriptor and size of a regular file that lies in ``folder``, followed through links inside it."""
    path = folder / name
    try:
        if not path.is_symlink() and not path.exists():
            raise UserError(f"{path}: no such file; {_instead(folder)}")
        resolved = path.resolve(strict=True)
        if not resolved.is_relative_to(folder.resolve()):
            raise UserError(f"{path}: is a link that leaves its folder, to {resolved}; replace it by a copy of the file")
        # Not to wait for a writer, should it be a named pipe.
        descriptor = os.open(resolved, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle
        raise UserError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) and status.st_size <= limit:
        return descriptor, status.st_size
    os.close(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise UserError(f"{path}: not a regular file; {_WANTED}")
    raise UserError(f"{path}: {status.st_size} bytes, more than the {limit} that are read; this is not of this project")


def _read_member(folder: Path, name: str, limit: int) -> bytes:
    descriptor, _ = _open_member(folder, name, limit)
    with os.fdopen(descriptor, "rb") as file:
        return file.read(limit)


def _instead(folder: Path) -> str:
    pickles = sorted(entry.name for entry in folder.iterdir() if entry.suffix in _PICKLES)
    if pickles:
        return f"{pickles[0]} beside it is a pickle, which can run code when opened, and is refused; {_WANTED}"
    return _WANTED


def _check_config(config: Any, where: str) -> None:
    if not isinstance(config, Mapping):
        raise UserError(f"{where}: must be a JSON object, got {type(config).__name__}")
    version = config.get("format_version")
    # First, because a newer format may have other keys.
    if "format_version" in config and (type(version) is not int or version != FORMAT_VERSION):
        newer = type(version) is int and version > FORMAT_VERSION
        mend = "it was written by a newer release: update this one" if newer else "it is not of this project"
        raise UserError(f"{where}: format_version {version!r} is unknown (this release reads {FORMAT_VERSION}); {mend}")
    for key in REQUIRED_KEYS:
        if key not in config:
            raise UserError(f"{where}: key {key} is missing; these weights are not of this project, or incomplete")
    for key in config:
        if key not in REQUIRED_KEYS and key not in OPTIONAL_KEYS:
            raise UserError(f"{where}: {key}: unknown key; known are {', '.join((*REQUIRED_KEYS, *OPTIONAL_KEYS))}")
    require_plain(config, where)
    if not isinstance(config["kind"], str):
        raise UserError(f"{where}: kind: must be text, got {config['kind']!r}")
    if not isinstance(config["sha256"], str) or not _HASH.fullmatch(config["sha256"]):
        raise UserError(f"{where}: sha256: must be 64 hexadecimal digits in lower case, got {config['sha256']!r:.80}")
    for key in ("model", *OPTIONAL_KEYS):
        if key in config and not isinstance(config[key], Mapping):
            raise UserError(f"{where}: {key}: must be an object, got {type(config[key]).__name__}")


def _compare(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], where: str) -> None:
    """Refuse a file that does not hold exactly the module's tensors."""
    missing, unknown = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
    for names, fault in ((missing, "is missing"), (unknown, "is unknown to this model")):
        if names:
            more = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
            raise UserError(f"{where}: tensor {names[0]} {fault}{more}; weights and the model in {CONFIG_FILE} differ")
    for name, tensor in found.items():
        wanted = expected[name]
        if tensor.shape != wanted.shape:
            raise UserError(f"{where}: tensor {name} has shape {tuple(tensor.shape)}, the model needs {tuple(wanted.shape)}")
        narrower = tensor.dtype.is_floating_point and tensor.dtype.itemsize < wanted.dtype.itemsize
        if tensor.dtype != wanted.dtype and not (wanted.dtype.is_floating_point and narrower):
            raise UserError(f"{where}: tensor {name} is {tensor.dtype}, which does not fit the model's {wanted.dtype}")


def _refuse_shared(tensors: Mapping[str, Tensor]) -> None:
    owners: dict[tuple[torch.device, int], str] = {}
    for name, tensor in tensors.items():
        if tensor.numel():
            owner = owners.setdefault((tensor.device, tensor.untyped_storage().data_ptr()), name)
            if owner != name:
                raise UserError(
                    f"tensors {owner} and {name} share memory, which a weights file cannot say; "
                    "leave one of them out or save a clone"
                )


def _refuse_not_finite(tensor: Tensor, what: str, consequence: str) -> None:
    if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
        count = int((~torch.isfinite(tensor)).sum())
        raise UserError(f"{what} has {count} value(s) that are not finite; {consequence}")


def resolve_folder(name: str) -> Path:
    """A weights folder given by path, or by its place under the installed project (``pretrained/encoder``).

    Raises:
        UserError: no such folder in either place.
    """
    place = shipped(name)
    if not place.is_dir():
        raise UserError(f"{name}: no such folder; give one that holds config.json and model.safetensors")
    return place


def shipped(name: str | Path) -> Path:
    """``name`` where it is there or nothing of that name was shipped, else its place under the installed project."""
    own = Path(__file__).resolve().parents[2] / str(name)
    return own if not os.path.exists(str(name)) and own.is_dir() else Path(str(name))
