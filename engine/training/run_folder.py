"""The folder of a run: whether it may be started there, and from which checkpoint it goes on."""

from __future__ import annotations

import sys
from collections.abc import Collection
from functools import reduce
from pathlib import Path
from typing import Any

from configs.cli import UserError
from configs.loader import StrictModel, load_config, to_yaml
from engine.storage.atomic import atomic_write_text, make_folder, require_place
from engine.storage.checkpoint import checkpoint_steps, latest_checkpoint, load_checkpoint

CONFIG = "config.yaml"


def find_start(
    run_dir: Path, config: StrictModel, resume: str | None, module: str, may_change: Collection[str] = ()
) -> Path | None:
    """The checkpoint that a run goes on from, or None for a fresh start; writes nothing.

    ``resume`` is None, ``latest`` or the folder of a checkpoint. A run that ended before its first checkpoint was whole
    starts anew under ``latest``, so that a job which is always started with it survives its first minutes too. A stored
    configuration that lacks settings added since, with defaults that leave training as it was, counts as the same.

    Args:
        module: what the run trains; a checkpoint of this program holds it.
        may_change: dotted names of settings that may differ from those that the run began with.

    Raises:
        UserError: the folder cannot be used, it already holds a run and ``resume`` is not given, there is nothing to resume,
            the checkpoint is damaged or of something else, or going on would mix two histories in one folder.
    """
    require_place(run_dir)
    if resume is None:
        if checkpoint_steps(run_dir):
            raise UserError(f"{run_dir} already holds a run: continue it with --resume latest, or choose another --out")
        return None
    stored = run_dir / CONFIG
    if resume != "latest":
        here = checkpoint_steps(run_dir)
        later = [path.name for path in here.values() if path.name > Path(resume).name]
        if later:
            raise UserError(
                f"--resume {resume}: {run_dir} holds later checkpoints ({max(later)}); "
                "choose another --out for a run that leaves from there, or move them away"
            )
        held = load_checkpoint(resume).tensors
        if module not in held:
            raise UserError(f"--resume {resume}: holds {', '.join(sorted(held))}, no {module}; it is of another stage or program")
        return Path(resume)
    if not stored.is_file():
        raise UserError(f"--resume latest: {run_dir} holds no checkpoint and no run; start without --resume")
    if stored.read_text(encoding="utf-8") != to_yaml(config) and not _says(stored, config, may_change):
        raise UserError(f"--resume: the configuration differs from {stored}; resume with the same one, or start anew")
    found = latest_checkpoint(run_dir, log=_to_stderr)
    if found is None and checkpoint_steps(run_dir):
        raise UserError(f"--resume latest: {run_dir} holds no checkpoint that verifies; start in another --out")
    if found is None:
        _to_stderr(f"--resume latest: {run_dir} holds no checkpoint yet; starting from the beginning")
    return found


def begin_run(run_dir: Path, config: StrictModel, resume: str | None) -> None:
    """Make the run directory and note the configuration there; of a run that goes on, what has changed.

    Raises:
        UserError: it cannot be written.
    """
    stored = run_dir / CONFIG
    if resume is not None and stored.is_file() and (resume != "latest" or _says(stored, config)):
        return
    make_folder(run_dir)
    atomic_write_text(run_dir / CONFIG, to_yaml(config))


def _says(file: Path, config: StrictModel, may_change: Collection[str] = ()) -> bool:
    try:
        stored = load_config(type(config), file)
    except UserError:  # settings that exist no longer
        return False
    return _without(stored, may_change) == _without(config, may_change)


def _without(config: StrictModel, names: Collection[str]) -> dict[str, Any]:
    settings = config.model_dump()
    for name in names:
        *sections, key = name.split(".")
        reduce(dict.__getitem__, sections, settings).pop(key)
    return settings


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr)
