"""One run of training from its opening to its end: the processes, the folder, the loop, and what is kept of it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.loader import StrictModel
from engine.devices import make_accelerator
from engine.storage.atomic import make_folder, require_place
from engine.storage.lock import FolderLock
from engine.training.agreement import Agreement
from engine.training.loop import run_training
from engine.training.run_folder import begin_run, find_start
from engine.training.stop_request import GO_ON
from engine.training.task import LoopSettings, Outcome, TrainingTask
from engine.training.tracking import Tracker

if TYPE_CHECKING:
    from accelerate import Accelerator


@dataclass(frozen=True)
class Training:
    """An open run; ``run`` is :func:`engine.training.loop.run_training` in its folder."""

    accelerator: Accelerator
    agreement: Agreement
    run: Callable[[TrainingTask, LoopSettings], Outcome]


def open_training(
    label: str,
    config: StrictModel,
    machine: Any,
    folder: Path,
    resume: str | None,
    *,
    module: str,
    may_change: Collection[str] = (),
    begin: bool = True,
    go_on: str = GO_ON,
) -> Training:
    """Open ``folder`` for a training, in as many processes as were launched.

    Args:
        label: begins the lines that the loop says.
        config: kept in the folder; who goes on there must have the same.
        machine: the part of ``config`` that holds ``device``, ``precision`` and ``wandb``.
        resume: None, ``latest`` or the folder of a checkpoint.
        module: what is trained; a checkpoint to go on from holds it.
        may_change: settings that who goes on may have other values of, by their dotted names.
        begin: make the folder now, not when training begins.
        go_on: what whoever stops the training is told.

    Raises:
        UserError: the device or the folder cannot be used, another training is at work there, or there is nothing to go on
            from. All processes end then.
    """
    accelerator = make_accelerator(machine.device, machine.precision)
    agreement, found, lock = Agreement(accelerator), list[Path | None]([None]), FolderLock(folder, "trains")

    def start() -> None:
        make_folder(folder)
        lock.take()
        if resume is None:
            # Another training may have begun, and ended, while this one read its data.
            find_start(folder, config, resume, module, may_change)
        begin_run(folder, config, resume)

    def find() -> None:
        require_place(folder)
        if folder.is_dir():
            lock.take()
        found[0] = find_start(folder, config, resume, module, may_change)
        if begin:
            start()

    def run(task: TrainingTask, settings: LoopSettings) -> Outcome:
        if not begin:
            agreement.in_first(start)
        tracker = Tracker(folder, enabled=accelerator.is_main_process, wandb=machine.wandb, config=config.model_dump())
        try:
            return run_training(task, accelerator, folder, settings, tracker, label=label, resume_from=found[0], go_on=go_on)
        finally:
            lock.close()

    agreement.in_first(find)
    if accelerator.num_processes > 1:
        from accelerate.utils import broadcast_object_list

        broadcast_object_list(found)
    return Training(accelerator, agreement, run)
