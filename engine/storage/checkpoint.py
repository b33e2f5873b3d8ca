"""Training checkpoints: folders of safetensors and JSON that are complete and verified, or not used.

``run/checkpoints/step-00001234/`` holds one ``<group>.safetensors`` per group of tensors, ``state.json``, and
``MANIFEST.json`` with size and SHA-256 of each. All is written to a hidden folder, flushed to disk and renamed, so that
a crash at any moment leaves the earlier checkpoints and no half one. Nothing is pickled: a resumed run executes no code
from its checkpoint.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from configs.cli import UserError
from engine.storage.atomic import explain_write_error, sync_folder, write_synced
from engine.storage.plain_json import parse_json

FORMAT_VERSION = 1
FOLDER = "checkpoints"
MANIFEST = "MANIFEST.json"
STATE = "state.json"
_SUFFIX = ".safetensors"
_GROUP = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_STEP = re.compile(r"step-(\d{8,})")
# .tmp-<step>-<pid>: a checkpoint being written, or (-pruned) removed. .aside-<name>: replaced by a newer one.
_TEMPORARY = re.compile(r"\.tmp-\d+-(\d+)(-pruned)?")
_ASIDE = re.compile(r"\.aside-(step-\d{8,})")


@dataclass(frozen=True)
class Checkpoint:
    """A verified checkpoint in memory.

    Attributes:
        step: number of optimiser steps done.
        tensors: per group, named tensors on the CPU.
        state: what ``save_checkpoint`` was given, after a round trip through JSON (keys are text, tuples are lists).
    """

    step: int
    tensors: Mapping[str, Mapping[str, Tensor]]
    state: Mapping[str, Any]


def step_folder(run_dir: str | Path, step: int) -> Path:
    """Where the checkpoint of ``step`` stands."""
    return Path(run_dir) / FOLDER / f"step-{step:08d}"


def save_checkpoint(
    run_dir: str | Path,
    step: int,
    *,
    tensors: Mapping[str, Mapping[str, Tensor]],
    state: Mapping[str, Any],
    keep: int = 2,
    protect: Collection[int] = (),
) -> Path:
    """Write ``run_dir/checkpoints/step-<step>``; only one process of a run may call this.

    Afterwards the checkpoints beyond the ``keep`` highest steps are removed, except the new one and the steps in
    ``protect``. A checkpoint of the same step is replaced. Tensors may be on any device.

    Args:
        tensors: per group (letters, digits, ``.``, ``_``, ``-``), named tensors.
        state: anything that JSON can hold.

    Raises:
        UserError: the disk is full or writing is not permitted; the earlier checkpoints are intact.
    """
    for group in tensors:
        if not _GROUP.fullmatch(group):
            raise ValueError(f"group name {group!r} cannot be a file name")
    # Before anything is written, because a state that JSON cannot hold is a defect of the caller.
    described = json.dumps({"format_version": FORMAT_VERSION, "step": step, "state": state}).encode()
    folder = Path(run_dir) / FOLDER
    target = step_folder(run_dir, step)
    temporary = folder / f".tmp-{step}-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _clean(folder)
        try:
            temporary.mkdir()
            manifest: dict[str, dict[str, Any]] = {}
            for group, named in tensors.items():
                _write(temporary / f"{group}{_SUFFIX}", safetensors.torch.save(_on_cpu(named)), manifest)
            _write(temporary / STATE, described, manifest)
            write_synced(temporary / MANIFEST, _canonical(manifest))
            sync_folder(temporary)
            _put_in_place(temporary, target)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        sync_folder(folder)
    except OSError as error:
        raise UserError(
            f"{target}: step {step} could not be saved: {explain_write_error(error)}; earlier checkpoints are intact"
        ) from error
    _prune(folder, step, keep, protect)
    return target


def load_checkpoint(path: str | Path) -> Checkpoint:
    """The checkpoint in folder ``path``, after checking every file against the manifest. Never another one instead.

    Raises:
        UserError: no such folder, not a checkpoint, or anything missing, changed or unreadable in it.
    """
    path = Path(path)
    contents = _read_verified(path)
    where = path / STATE
    if STATE not in contents:
        raise UserError(f"{path}: {STATE} is not in the manifest; this is not a training checkpoint")
    described = _parse_state(contents.pop(STATE), where)
    if not isinstance(described, dict) or set(described) != {"format_version", "step", "state"}:
        raise UserError(f"{where}: not the state of a training checkpoint")
    if described["format_version"] != FORMAT_VERSION:
        raise UserError(
            f"{where}: format_version {described['format_version']!r} is not {FORMAT_VERSION}; "
            "resume with the version of the program that wrote it"
        )
    tensors: dict[str, Mapping[str, Tensor]] = {}
    for name, data in contents.items():
        try:
            tensors[name.removesuffix(_SUFFIX)] = safetensors.torch.load(data)
        except (SafetensorError, KeyError, ValueError) as error:
            raise UserError(f"{path / name}: not a safetensors file: {error}") from None
    return Checkpoint(described["step"], tensors, described["state"])


def latest_checkpoint(run_dir: str | Path, log: Callable[[str], Any] = print) -> Path | None:
    """The checkpoint of the highest step in ``run_dir`` that verifies, or None; ``log`` is told which were skipped."""
    folder = Path(run_dir) / FOLDER
    if not folder.is_dir():
        return None
    with suppress(OSError):  # a read-only run can still be resumed elsewhere
        _restore_aside(folder)
    for _, path in sorted(checkpoint_steps(run_dir).items(), reverse=True):
        try:
            _read_verified(path)
        except UserError as error:
            log(f"skipping checkpoint {error}")
        else:
            return path
    return None


def _canonical(manifest: Mapping[str, Any]) -> bytes:
    return json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode()


def _write(path: Path, data: bytes, manifest: dict[str, dict[str, Any]]) -> None:
    write_synced(path, data)
    manifest[path.name] = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def _on_cpu(named: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Contiguous CPU tensors; those that share memory are copied, because safetensors stores each on its own."""
    seen: set[int] = set()
    plain: dict[str, Tensor] = {}
    for name, tensor in named.items():
        value = tensor.detach().cpu().contiguous()
        storage = value.untyped_storage()
        if storage.data_ptr() in seen or storage.nbytes() != value.nbytes:
            value = value.clone()
        seen.add(value.untyped_storage().data_ptr())
        plain[name] = value
    return plain


def _put_in_place(temporary: Path, target: Path) -> None:
    if not target.exists():
        os.rename(temporary, target)
        return
    # A folder cannot be replaced in one move. If the program dies between the two, _restore_aside undoes the first.
    aside = target.with_name(f".aside-{target.name}")
    os.rename(target, aside)
    try:
        os.rename(temporary, target)
    except BaseException:
        os.rename(aside, target)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _restore_aside(folder: Path) -> None:
    for entry in list(folder.iterdir()):
        match = _ASIDE.fullmatch(entry.name)
        if match and not (folder / match[1]).exists():
            os.rename(entry, folder / match[1])


def _clean(folder: Path) -> None:
    """Remove what processes that are gone left behind."""
    _restore_aside(folder)
    for entry in list(folder.iterdir()):
        match = _TEMPORARY.fullmatch(entry.name)
        if (match and not _runs_elsewhere(int(match[1]))) or _ASIDE.fullmatch(entry.name):
            shutil.rmtree(entry, ignore_errors=True)


def _runs_elsewhere(pid: int) -> bool:
    if pid == os.getpid():
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def checkpoint_steps(run_dir: str | Path) -> dict[int, Path]:
    """Steps and folders of the checkpoints in ``run_dir``, sound or not."""
    folder = Path(run_dir) / FOLDER
    if not folder.is_dir():
        return {}
    matches = ((_STEP.fullmatch(entry.name), entry) for entry in folder.iterdir())
    return {int(match[1]): entry for match, entry in matches if match}


def _prune(folder: Path, newest: int, keep: int, protect: Collection[int]) -> None:
    steps = checkpoint_steps(folder.parent)
    # The one just written is valid, so keeping it always keeps the newest valid one.
    kept = {newest, *protect, *sorted(steps, reverse=True)[: max(keep, 0)]}
    for step, path in steps.items():
        if step not in kept:
            doomed = folder / f".tmp-{step}-{os.getpid()}-pruned"
            with suppress(OSError):  # what cannot be removed now is tried again at the next save
                os.rename(path, doomed)
                shutil.rmtree(doomed)


def _parse_state(data: bytes, where: Path) -> Any:
    try:
        # Not parse_json: the state may hold NaN (a score that was never measured), and its hash was verified.
        return json.loads(data)
    except ValueError as error:
        raise UserError(f"{where}: not valid JSON: {error}") from None


def _read_verified(path: Path) -> dict[str, bytes]:
    """Contents of every file in the manifest of ``path``; each of the size and hash that stand there."""
    if not path.is_dir():
        nature = "is a file; a checkpoint is a folder" if path.exists() else "no such checkpoint folder"
        raise UserError(f"{path}: {nature}, such as RUN/{FOLDER}/step-00001234")
    manifest_path = path / MANIFEST
    if not manifest_path.is_file():
        if (path / FOLDER).is_dir():
            raise UserError(f"{path}: this is a run, not a checkpoint; name one of the folders in {path / FOLDER}")
        raise UserError(f"{path}: no {MANIFEST}: not a checkpoint, or one that was not completed")
    try:
        raw = manifest_path.read_bytes()
        manifest = parse_json(raw, str(manifest_path))
        contents: dict[str, bytes] = {}
        for name, entry in _entries(manifest, raw, manifest_path):
            file = path / name
            if file.is_symlink() or not file.is_file():
                raise UserError(f"{file}: in {MANIFEST}, but missing or no regular file; this checkpoint is damaged")
            size = file.stat().st_size
            if size != entry["size"]:
                raise UserError(f"{file}: {size} bytes, {entry['size']} in {MANIFEST}; this checkpoint is damaged")
            data = file.read_bytes()
            if hashlib.sha256(data).hexdigest() != entry["sha256"]:
                raise UserError(f"{file}: SHA-256 differs from {MANIFEST}; this checkpoint is damaged")
            contents[name] = data
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error
    return contents


def _entries(manifest: Any, raw: bytes, where: Path) -> list[tuple[str, dict[str, Any]]]:
    """Checked entries. The manifest has one spelling only, so that not even its white space can change unnoticed."""
    valid = isinstance(manifest, dict) and raw == _canonical(manifest)
    for name, entry in manifest.items() if valid else ():
        stem = name.removesuffix(_SUFFIX) if name.endswith(_SUFFIX) else None
        valid = valid and (name == STATE or (stem is not None and _GROUP.fullmatch(stem) is not None))
        valid = valid and isinstance(entry, dict) and set(entry) == {"size", "sha256"}
        valid = valid and type(entry["size"]) is int and isinstance(entry["sha256"], str)
    if not valid:
        raise UserError(f"{where}: not the manifest of a training checkpoint; this checkpoint is damaged")
    return list(manifest.items())
