"""One run of training from its opening to its end: the processes, the folder, the loop, and what is said and kept."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from configs.loader import StrictModel
from engine.devices import make_accelerator
from engine.training.agreement import Agreement
from engine.training.loop import run_training
from engine.training.run_folder import begin_run, find_start
from engine.training.stop_request import GO_ON
from engine.training.task import LoopSettings, Outcome, TrainingTask
from engine.training.tracking import Tracker

if TYPE_CHECKING:
    from accelerate import Accelerator


class Machine(Protocol):
    """The settings that say where and how a training runs."""

    @property
    def device(self) -> Literal["auto", "cpu", "cuda"]: ...
    @property
    def precision(self) -> Literal["auto", "no", "bf16"]: ...
    @property
    def wandb(self) -> bool: ...


@dataclass(frozen=True, kw_only=True)
class Training:
    """An open run; ``start`` is the checkpoint that it goes on from, None for a fresh start."""

    label: str
    config: StrictModel
    machine: Machine
    folder: Path
    resume: str | None
    start: Path | None
    accelerator: Accelerator
    agreement: Agreement
    go_on: str

    def say(self, line: str) -> None:
        """Tell what is going on, once for all processes."""
        if self.accelerator.is_main_process:
            print(line, file=sys.stderr)

    def run(self, task: TrainingTask, settings: LoopSettings) -> Outcome:
        """Train ``task`` to its end, or until Ctrl-C or SIGTERM, with checkpoints and figures in the folder.

        Raises:
            UserError: as :func:`engine.training.loop.run_training`.
        """
        self.agreement.in_first(lambda: begin_run(self.folder, self.config, self.resume))
        main, shown = self.accelerator.is_main_process, self.config.model_dump()
        return run_training(
            task,
            self.accelerator,
            self.folder,
            settings,
            label=self.label,
            resume_from=self.start,
            tracker=Tracker(self.folder, enabled=main, wandb=self.machine.wandb, config=shown),
            go_on=self.go_on,
        )


def open_training(
    label: str,
    config: StrictModel,
    machine: Machine,
    folder: Path,
    resume: str | None,
    *,
    module: str,
    begin: bool = True,
    go_on: str = GO_ON,
) -> Training:
    """Open ``folder`` for a training, in as many processes as were launched.

    Args:
        label: begins the lines that the loop says.
        config: kept in the folder; who goes on there must have the same.
        machine: device and precision, and whether W&B is told.
        resume: None, ``latest`` or the folder of a checkpoint.
        module: what is trained; a checkpoint to go on from holds it.
        begin: make the folder now, not when training begins.
        go_on: what whoever stops the training is told.

    Raises:
        UserError: the device or the folder cannot be used, or there is nothing to go on from. All processes end then.
    """
    accelerator = make_accelerator(machine.device, machine.precision)
    agreement, found = Agreement(accelerator), list[Path | None]([None])

    def find() -> None:
        found[0] = find_start(folder, config, resume, module)
        if begin:
            begin_run(folder, config, resume)

    agreement.in_first(find)
    if accelerator.num_processes > 1:
        from accelerate.utils import broadcast_object_list

        broadcast_object_list(found)
    return Training(
        label=label,
        config=config,
        machine=machine,
        folder=folder,
        resume=resume,
        start=found[0],
        accelerator=accelerator,
        agreement=agreement,
        go_on=go_on,
    )
