"""Weights as they are shared: a folder with ``config.json`` and ``model.safetensors``, written whole and read strictly.

A weights folder may come from anyone, so whatever is not exactly what the module expects is refused by name. No pickle is
opened, nothing is fetched, no code is imported.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Collection, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, TypeVar

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from configs.cli import UserError
from configs.version import version
from engine.storage.atomic import atomic_write_bytes, make_folder
from engine.storage.plain_json import parse_json, require_plain
from engine.storage.weights_folder import CONFIG_FILE as CONFIG_FILE
from engine.storage.weights_folder import PICKLES, WANTED, checked_folder, open_member, read_member
from engine.storage.weights_folder import WEIGHTS_FILE as WEIGHTS_FILE
from engine.storage.weights_folder import resolve_folder as resolve_folder
from engine.storage.weights_folder import shipped as shipped
from engine.threads import settle_threads

Net = TypeVar("Net", bound=nn.Module)

FORMAT_VERSION = 1
MAX_CONFIG_BYTES = 1 << 20
MAX_WEIGHTS_BYTES = 512 << 20
REQUIRED_KEYS = ("format_version", "kind", "model", "sha256")
OPTIONAL_KEYS = ("config_sha256", "version", "preprocessing", "calibration", "training", "metrics", "data")
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
            ``metrics``, ``data`` (objects). ``format_version``, ``sha256``, ``config_sha256`` and ``version``, that of this
            program, are added.
        half: store floats wider than 16 bits as float16.
        keep_float32: names, or patterns such as ``*.running_var``, of tensors that ``half`` leaves alone.

    Raises:
        UserError: a tensor that is not finite (after rounding, too) or shares memory with another, a ``keep_float32``
            that names no tensor, a config that :func:`read_config` would refuse, or a failed write.
    """
    folder = checked_folder(folder)
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
    full = {**config, "format_version": FORMAT_VERSION, "version": version(), "sha256": hashlib.sha256(data).hexdigest()}
    where = f"{folder / CONFIG_FILE} (to be written)"
    _check_config(full, where)
    full["config_sha256"] = config_sha256(full)
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
            ``kind`` or ``format_version``, a top-level key that is missing or unknown, or a content that is not the one of
            ``config_sha256`` (a folder saved before there was such a key, or ``version``, has none, and is read).
    """
    kinds = (kind,) if isinstance(kind, str) else tuple(kind)
    folder = checked_folder(folder)
    if not folder.is_dir():
        if folder.suffix in PICKLES:
            raise UserError(f"{folder}: a pickle can run code when it is opened and is refused; {WANTED}")
        raise UserError(f"{folder}: {'is a file' if folder.exists() else 'no such folder'}; {WANTED}")
    data = read_member(folder, CONFIG_FILE, MAX_CONFIG_BYTES)
    where = str(folder / CONFIG_FILE)
    config = parse_json(data, where)
    _check_config(config, where)
    if config["kind"] not in kinds:
        needed = " or ".join(repr(each) for each in kinds)
        raise UserError(f"{where}: kind is {config['kind']!r}, but {needed} is needed here; choose another folder")
    return {key: value for key, value in config.items() if key != "config_sha256"}


def config_sha256(config: Mapping[str, Any]) -> str:
    """SHA-256 of a configuration without its ``config_sha256``, however its JSON is laid out."""
    content = json.loads(json.dumps({key: value for key, value in config.items() if key != "config_sha256"}))
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def load_network(folder: str | Path, config: Mapping[str, Any], build: Callable[[], Net]) -> Net:
    """The network that ``build`` makes, with the weights of ``folder``.

    It is built without memory first and compared with what the weights file holds, so that a description asks for no more
    memory than its weights take.

    Args:
        config: what :func:`read_config` returned for the same folder.
        build: makes the network that ``config`` describes; called twice.

    Raises:
        UserError: no network can be built, its tensors are not those of the file, or as :func:`load_weights`.
    """
    folder = checked_folder(folder)
    where = str(folder / WEIGHTS_FILE)
    try:
        with torch.device("meta"):
            described = build()
    except (ValueError, RuntimeError, TypeError, OverflowError, ArithmeticError, MemoryError) as error:
        # What layers raise on settings that do not fit each other.
        reason = " ".join(str(error).split())
        raise UserError(f"{folder / CONFIG_FILE}: model: no network can be built of these settings ({reason:.200})") from None
    _compare_shapes(_stored_shapes(folder, where), _shapes(described.state_dict()), where)
    network = build()
    load_weights(folder, network, config)
    return network


def _stored_shapes(folder: Path, where: str) -> dict[str, tuple[int, ...]]:
    descriptor, _ = open_member(folder, WEIGHTS_FILE, MAX_WEIGHTS_BYTES)
    os.close(descriptor)
    try:
        with safe_open(where, framework="numpy") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 - it is no mapping
    except (SafetensorError, ValueError, OSError) as error:
        raise UserError(f"{where}: not a valid safetensors file: {error}; copy it again") from None


def load_weights(folder: str | Path, module: nn.Module, config: Mapping[str, Any]) -> None:
    """Copy the tensors of ``folder/model.safetensors`` into ``module``, all or none of them.

    Narrower floats are cast up to the module's; every other difference is refused.

    Args:
        config: what :func:`read_config` returned for the same folder; its ``sha256`` must be that of the file.

    Raises:
        UserError: the file is missing, outside the folder, too large, damaged or not the one of ``config``, or a tensor
            is missing, unknown, of another shape or dtype, or not finite. ``module`` is unchanged then.
    """
    settle_threads()
    folder = checked_folder(folder)
    where = str(folder / WEIGHTS_FILE)
    data = read_member(folder, WEIGHTS_FILE, MAX_WEIGHTS_BYTES)
    if hashlib.sha256(data).hexdigest() != config["sha256"]:
        raise UserError(f"{where}: its SHA-256 is not the one in {CONFIG_FILE}; the two are not of one save, copy both again")
    try:
        tensors = safetensors.torch.load(data)
    except (SafetensorError, ValueError, KeyError) as error:  # KeyError: a type that torch does not have
        raise UserError(f"{where}: not a valid safetensors file: {error}; copy it again") from None
    expected = module.state_dict()
    _compare_shapes(_shapes(tensors), _shapes(expected), where)
    _compare_types(tensors, expected, where)
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


def _check_config(config: Any, where: str) -> None:
    if not isinstance(config, Mapping):
        raise UserError(f"{where}: must be a JSON object, got {type(config).__name__}")
    written = config.get("format_version")
    # First, because a newer format may have other keys.
    if "format_version" in config and (type(written) is not int or written != FORMAT_VERSION):
        newer = type(written) is int and written > FORMAT_VERSION
        mend = "it was written by a newer release: update this one" if newer else "it is not of this project"
        raise UserError(f"{where}: format_version {written!r} is unknown (this release reads {FORMAT_VERSION}); {mend}")
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
    if "config_sha256" in config and config["config_sha256"] != config_sha256(config):
        mend = "copy the folder again, or take this key out if you changed the file yourself"
        raise UserError(f"{where}: config_sha256: not the SHA-256 of what stands there; {mend}")
    if "version" in config and not isinstance(config["version"], str):
        raise UserError(f"{where}: version: must be text, got {config['version']!r:.80}")
    for key in ("model", *OPTIONAL_KEYS[2:]):
        if key in config and not isinstance(config[key], Mapping):
            raise UserError(f"{where}: {key}: must be an object, got {type(config[key]).__name__}")


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def _compare_shapes(found: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]], where: str) -> None:
    """Refuse a file that does not hold exactly the module's tensors."""
    missing, unknown = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
    for names, fault in ((missing, "is missing"), (unknown, "is unknown to this model")):
        if names:
            more = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
            raise UserError(f"{where}: tensor {names[0]} {fault}{more}; weights and the model in {CONFIG_FILE} differ")
    for name, shape in found.items():
        if shape != expected[name]:
            raise UserError(f"{where}: tensor {name} has shape {shape}, the model needs {expected[name]}")


def _compare_types(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], where: str) -> None:
    for name, tensor in found.items():
        wanted = expected[name]
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
