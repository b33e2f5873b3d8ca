"""Training checkpoints that a crash cannot break.

A checkpoint is a folder of safetensors and JSON. It is written under a temporary name, listed with sizes and SHA-256 in
``MANIFEST.json``, forced to disk and renamed once: under its final name it is complete. Older ones are removed only after.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from configs.cli import UserError
from encoder.atomic import explain_write_error, sync_folder, write_synced
from encoder.plain_json import parse_json
from encoder.weights import file_sha256

MANIFEST, STATE = "MANIFEST.json", "state.json"
_NAME = re.compile(r"step-(\d{8,})")


@dataclass(frozen=True)
class Checkpoint:
    """Content of a checkpoint: ``tensors[group][name]`` and plain ``state``."""

    step: int
    tensors: Mapping[str, Mapping[str, Tensor]]
    state: Mapping[str, Any]


class _Broken(Exception):
    """What is wrong with a checkpoint."""


def save_checkpoint(
    run_dir: str | Path,
    step: int,
    *,
    tensors: Mapping[str, Mapping[str, Tensor]],
    state: Mapping[str, Any],
    keep: int = 2,
    protect: Collection[int] = (),
) -> Path:
    """Write ``run_dir/checkpoints/step-########`` and remove all but the newest ``keep`` and the ``protect``-ed steps.

    To be called by one process only.

    Raises:
        UserError: the disk is full or not writable; earlier checkpoints are left as they were.
    """
    from safetensors.torch import save

    folder = Path(run_dir) / "checkpoints"
    target = folder / f"step-{step:08d}"
    beside = folder / f".tmp-{step}-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for stale in folder.glob(".tmp-*"):
            shutil.rmtree(stale, ignore_errors=True)
        beside.mkdir()
        files: dict[str, bytes] = {STATE: json.dumps(dict(state), allow_nan=False).encode()}
        for group, members in tensors.items():
            whole = {name: tensor.detach().cpu().contiguous() for name, tensor in members.items()}
            files[f"{group}.safetensors"] = save(whole)
        manifest: dict[str, Any] = {"step": step, "files": {}}
        for name, data in files.items():
            write_synced(beside / name, data)
            manifest["files"][name] = {"size": len(data), "sha256": file_sha256(beside / name)}
        write_synced(beside / MANIFEST, json.dumps(manifest, indent=1).encode())
        sync_folder(beside)
        if target.exists():
            # The same step again, after a resume: the rename below needs an empty place.
            shutil.rmtree(target)
        os.rename(beside, target)
        sync_folder(folder)
    except OSError as error:
        shutil.rmtree(beside, ignore_errors=True)
        raise UserError(f"{target}: cannot be written: {explain_write_error(error)}; earlier checkpoints are intact") from error
    _prune(folder, keep, {step, *protect})
    return target


def _numbered(folder: Path) -> list[tuple[int, Path]]:
    """Checkpoints by step, newest first, complete or not."""
    found = [(int(match[1]), path) for path in folder.iterdir() if (match := _NAME.fullmatch(path.name))]
    return sorted(found, reverse=True)


def _prune(folder: Path, keep: int, protected: Collection[int]) -> None:
    for number, path in _numbered(folder)[max(keep, 1) :]:
        if number not in protected:
            shutil.rmtree(path, ignore_errors=True)


def _verify(path: Path) -> dict[str, Any]:
    """The manifest of ``path``, all of whose files are as listed."""
    try:
        manifest = parse_json((path / MANIFEST).read_bytes(), str(path / MANIFEST))
    except FileNotFoundError:
        raise _Broken(f"{MANIFEST} is missing") from None
    except UserError as error:
        raise _Broken(str(error)) from None
    if not (isinstance(manifest, dict) and isinstance(manifest.get("files"), dict) and STATE in manifest["files"]):
        raise _Broken(f"{MANIFEST} is no list of files")
    for name, listed in manifest["files"].items():
        file = path / name
        if Path(name).name != name or not file.is_file() or file.is_symlink():
            raise _Broken(f"{name} is missing")
        if file.stat().st_size != listed["size"] or file_sha256(file) != listed["sha256"]:
            raise _Broken(f"{name} is damaged")
    return manifest


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read exactly the checkpoint at ``path``; it is used or refused, never replaced by another.

    Raises:
        UserError: no such folder, or a file of it is missing or damaged.
    """
    from safetensors.torch import load

    path = Path(path)
    if not path.is_dir():
        raise UserError(f"{path}: no such checkpoint")
    try:
        manifest = _verify(path)
    except _Broken as broken:
        raise UserError(f"{path}: cannot be used: {broken}; name another checkpoint, or --resume latest") from None
    state = parse_json((path / STATE).read_bytes(), str(path / STATE))
    groups = [name.removesuffix(".safetensors") for name in manifest["files"] if name.endswith(".safetensors")]
    tensors = {group: load((path / f"{group}.safetensors").read_bytes()) for group in groups}
    return Checkpoint(int(manifest["step"]), tensors, state)


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr)


def latest_checkpoint(run_dir: str | Path, log: Callable[[str], None] = _to_stderr) -> Path | None:
    """The newest checkpoint of a run that verifies; ``log`` is told which newer ones were passed over, and why."""
    folder = Path(run_dir) / "checkpoints"
    if not folder.is_dir():
        return None
    for _, path in _numbered(folder):
        try:
            _verify(path)
        except _Broken as broken:
            log(f"{path}: passed over: {broken}")
        else:
            return path
    return None


def pack_optimizer(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """An optimiser's state as tensors (``<parameter>.<name>``) and plain values."""
    state = optimizer.state_dict()
    tensors: dict[str, Tensor] = {}
    values: dict[str, dict[str, Any]] = {}
    for index, entry in state["state"].items():
        for name, value in entry.items():
            if isinstance(value, Tensor):
                tensors[f"{index}.{name}"] = value
            else:
                values.setdefault(str(index), {})[name] = value
    return tensors, {"groups": state["param_groups"], "values": values}


def unpack_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], stored: Mapping[str, Any]) -> None:
    """Put back what :func:`pack_optimizer` took.

    Raises:
        UserError: the state belongs to an optimiser of other parameters.
    """
    state: dict[int, dict[str, Any]] = {int(index): dict(entry) for index, entry in stored["values"].items()}
    for key, tensor in tensors.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = tensor
    try:
        optimizer.load_state_dict({"state": state, "param_groups": stored["groups"]})
    except (ValueError, KeyError) as error:
        raise UserError(f"the checkpoint's optimiser state does not fit this model: {error}") from None
