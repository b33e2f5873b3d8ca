"""The folder of a run: whether it may be started there, and from which checkpoint it goes on."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from configs.cli import UserError
from configs.loader import StrictModel, load_config, to_yaml
from engine.storage.atomic import atomic_write_text, explain_write_error, require_place
from engine.storage.checkpoint import checkpoint_steps, latest_checkpoint, load_checkpoint
from engine.training.agreement import Agreement

if TYPE_CHECKING:
    from accelerate import Accelerator

CONFIG = "config.yaml"


def find_start(run_dir: Path, config: StrictModel, resume: str | None, module: str) -> Path | None:
    """The checkpoint that a run goes on from, or None for a fresh start; writes nothing.

    ``resume`` is None, ``latest`` or the folder of a checkpoint. A run that ended before its first checkpoint was whole
    starts anew under ``latest``, so that a job which is always started with it survives its first minutes too. A stored
    configuration that lacks settings added since, with defaults that leave training as it was, counts as the same.

    Args:
        module: what the run trains; a checkpoint of this program holds it.

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
    if stored.read_text(encoding="utf-8") != to_yaml(config) and not _says(stored, config):
        raise UserError(f"--resume: the configuration differs from {stored}; resume with the same one, or start anew")
    found = latest_checkpoint(run_dir, log=_to_stderr)
    if found is None and checkpoint_steps(run_dir):
        raise UserError(f"--resume latest: {run_dir} holds no checkpoint that verifies; start in another --out")
    if found is None:
        _to_stderr(f"--resume latest: {run_dir} holds no checkpoint yet; starting from the beginning")
    return found


def open_run_once(
    accelerator: Accelerator, run_dir: Path, config: StrictModel, resume: str | None, module: str, *, begin: bool = True
) -> Path | None:
    """:func:`find_start` and, with ``begin``, :func:`begin_run` in the first process.

    The answer is that of all processes, a refusal ends all.
    """
    found = None

    def open_run() -> None:
        nonlocal found
        found = find_start(run_dir, config, resume, module)
        if begin:
            begin_run(run_dir, config, resume)

    Agreement(accelerator).in_first(open_run)
    if accelerator.num_processes == 1:
        return found
    from accelerate.utils import broadcast_object_list

    answer = broadcast_object_list([None if found is None else str(found)])[0]
    return None if answer is None else Path(answer)


def begin_run(run_dir: Path, config: StrictModel, resume: str | None) -> None:
    """Make the run directory and note the configuration there, unless a run goes on in it.

    Raises:
        UserError: it cannot be written.
    """
    if resume is not None and (run_dir / CONFIG).is_file():
        return
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{run_dir}: cannot be made: {explain_write_error(error)}") from error
    atomic_write_text(run_dir / CONFIG, to_yaml(config))


def _says(file: Path, config: StrictModel) -> bool:
    try:
        return load_config(type(config), file) == config
    except UserError:  # settings that exist no longer
        return False


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr)
