"""The training loop that the encoder, the tokenizer and the prior share.

What makes a run resumable bit for bit is that nothing random is carried along: data order is a pure function of
(seed, step) (:mod:`engine.training.batches`), and the random generators are re-seeded from (seed, step, rank) before every step.
A checkpoint is therefore weights, averages, optimiser moments, the step, and what earlier evaluations decided; it is
written between optimiser steps only, so that no half accumulated gradient has to be kept.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from configs.cli import UserError
from engine.storage.checkpoint import step_folder
from engine.threads import keep_threads
from engine.training.agreement import Agreement
from engine.training.stop_request import StopRequest, let_launcher_speak
from engine.training.task import LoopSettings, Outcome, TrainingTask
from engine.training.task_checkpoint import judged, keep_best, restore_task, save_task
from engine.training.tracking import Tracker

if TYPE_CHECKING:
    from accelerate import Accelerator


def _seed_step(seed: int, step: int, rank: int) -> None:
    words = np.random.SeedSequence((seed, step, rank)).generate_state(2, np.uint32)
    torch.manual_seed(int(words[0]) << 32 | int(words[1]))


class _Loop:
    """One run of a task, from its first or resumed step to its end."""

    def __init__(
        self, task: TrainingTask, accelerator: Accelerator, run_dir: Path, settings: LoopSettings, label: str, tracker: Tracker
    ) -> None:
        self.task, self.run_dir, self.settings, self.label, self.tracker = task, run_dir, settings, label, tracker
        self.main, self.on_cpu = accelerator.is_main_process, accelerator.device.type == "cpu"
        self.rank, self.world = accelerator.process_index, accelerator.num_processes
        self.agreement = Agreement(accelerator)
        self.budget = 60.0 * settings.max_minutes if settings.max_minutes is not None else math.inf
        self.step, self.elapsed, self.best = 0, 0.0, dict[str, Any]()
        self.figures: dict[str, float] = {}
        self.check = FiniteCheck()
        self.saved = 0.0

    def resume(self, source: Path) -> None:
        """Take up the run from a checkpoint."""
        self.step, self.elapsed, self.best, world, threads = restore_task(self.task, source)
        self.agreement.say(f"{self.label}: resumed from {source} at step {self.step}")
        if world != self.world:
            self.agreement.say(
                f"{self.label}: {self.world} process(es) now, {world} before: the same faces in the same order, but sums "
                "are rounded otherwise, so the result is not the same to the last bit"
            )
        if threads is not None and self.on_cpu and not keep_threads(threads):
            self.agreement.say(
                f"{self.label}: {torch.get_num_threads()} thread(s) now, {threads} before: sums are rounded otherwise, so the "
                f"result is not the same to the last bit; for that set OMP_NUM_THREADS={threads}"
            )
        if self.settings.keep_best and self.best and not step_folder(self.run_dir, self.best["step"]).is_dir():
            raise UserError(
                f"{self.run_dir} lacks the best checkpoint, of step {self.best['step']}; resume in the run's own --out"
            )

    def progress(self) -> float:
        """Share of the schedule that is behind."""
        if self.settings.max_minutes is not None:
            return self.elapsed / self.budget
        return self.step / self.settings.total_steps

    def finished(self) -> bool:
        patience = self.settings.patience
        return self.progress() >= 1.0 or (patience is not None and self.best.get("waited", 0) >= patience)

    def run(self) -> int:
        """Train until the end or a wish to stop; 0 or the exit code of that wish."""
        started = time.monotonic() - self.elapsed
        last_log = (time.monotonic(), self.step)
        settings, task = self.settings, self.task
        self.saved = self.elapsed
        far = {"step": self.step, "elapsed": self.elapsed, "main": self.main}
        with StopRequest() as stop, training_bar(self.label, settings.total_steps, settings.max_minutes, **far) as bar:
            while True:
                problem = self._fetch()
                self.elapsed, wish, failed = self.agreement.highest(
                    time.monotonic() - started, float(stop.exit_code), float(problem is not None)
                )
                if wish or self.finished():
                    return int(wish)
                if failed:
                    self.agreement.end_if(problem)
                progress = self.progress()
                _seed_step(settings.seed, self.step, self.rank)
                losses = task.train_step(self.step, progress)
                for name, ema in task.emas.items():
                    ema.update(task.modules[name])
                self.check.note(self.step, losses)
                self.step += 1
                logs, evaluates, saves = (
                    self.step % every == 0 for every in (settings.log_every, settings.evaluate_every, settings.checkpoint_every)
                )
                # By the time that all processes agreed on before the step, so that they save together.
                saves = saves or self.elapsed - self.saved >= 60.0 * (settings.checkpoint_minutes or math.inf)
                # On a GPU the question waits for the device, so it is asked only before something is made of the answer.
                if self.on_cpu or logs or evaluates or saves:
                    self.agreement.end_if(self._not_finite())
                if logs:
                    now = time.monotonic()
                    rate = (self.step - last_log[1]) * task.batches.batch_size / (now - last_log[0])
                    last_log = (now, self.step)
                    values = {name: float(value) for name, value in losses.items()}
                    self.tracker.log(self.step, {**values, "images_per_second": rate, "progress": progress})
                    bar.set_postfix(loss=f"{values['loss']:.3f}", img_s=f"{rate:.0f}")
                bar.update(1 if settings.max_minutes is None else round(100 * min(progress, 1.0), 1) - bar.n)
                if evaluates:
                    self.evaluate()
                    last_log = (time.monotonic(), self.step)
                if saves or (settings.keep_best and self.best.get("step") == self.step):
                    self.save(time.monotonic() - started)
                    self.saved = self.elapsed

    def evaluate(self) -> None:
        """Figures on valid, and whether these weights are the best so far."""
        from tqdm import tqdm

        self.figures = self.task.evaluate()
        # One score for all processes: they must end, and lower their rates, together.
        (self.figures["score"],) = self.agreement.highest(self.figures["score"])
        self.task.after_evaluation(self.figures)
        self.best = judged(self.best, self.step, self.figures["score"])
        if self.main:
            self.tracker.log(self.step, {f"valid/{name}": value for name, value in self.figures.items()})
            self.tracker.pictures(self.step, self.task.pictures())
            shown = "  ".join(f"{name} {value:.4f}" for name, value in self.figures.items())
            tqdm.write(f"{self.label} step {self.step}: {shown}", file=sys.stderr)

    def save(self, elapsed: float) -> None:
        """Write a checkpoint; if that fails, all processes end."""
        settings = self.settings
        self.agreement.in_first(
            lambda: save_task(self.task, self.run_dir, self.step, elapsed, self.best, settings.keep, self.world)
        )

    def _fetch(self) -> str | None:
        """Why the next step has nothing to learn from; it may be beyond the end, and then does not matter."""
        try:
            self.task.fetch(self.step)
        except UserError as error:
            return str(error)
        return None

    def _not_finite(self) -> str | None:
        found = self.check.first_problem()
        if found is None:
            return None
        step, name, value = found
        epoch, items = self.task.batches(step)
        some = ", ".join(map(str, items[:8])) + (", …" if len(items) > 8 else "")
        return (
            f"{self.label}: {name} is not finite ({value}) in step {step + 1}, epoch {epoch + 1}, whose batch holds the items "
            f"{some}; the checkpoints in {self.run_dir} are from before: resume from one, with a lower learning rate and another "
            "--out, or mend these faces"
        )


def run_training(
    task: TrainingTask,
    accelerator: Accelerator,
    run_dir: Path,
    settings: LoopSettings,
    tracker: Tracker,
    *,
    label: str,
    resume_from: Path | None,
    go_on: str,
) -> Outcome:
    """Train ``task`` to its end, or until a signal stops it (then say how to ``go_on``), checkpointing into ``run_dir``.

    With ``max_minutes`` the schedule is laid over the time spent in training, so that a short run still ends annealed.

    Raises:
        UserError: a loss is not finite or the disk is full (the last checkpoint is left intact), or a checkpoint cannot be
            used. With several processes, the others raise ``SystemExit``.
    """
    loop = _Loop(task, accelerator, run_dir, settings, label, tracker)
    if resume_from is not None:
        loop.resume(resume_from)
    tracker.rewind(loop.step)
    try:
        stop_code = loop.run()
    finally:
        task.close()
    loop.agreement.end_if(loop._not_finite())
    loop.save(loop.elapsed)
    tracker.finish()
    if stop_code:
        let_launcher_speak(stop_code)
        loop.agreement.say(f"{label}: stopped at step {loop.step}; {go_on}")
        return Outcome(loop.step, stop_code, loop.figures, loop.elapsed / 60, loop.step)
    figures = task.evaluate()
    if settings.keep_best and keep_best(task, run_dir, loop.best, figures):
        return Outcome(loop.step, 0, task.evaluate(), loop.elapsed / 60, loop.best["step"])
    return Outcome(loop.step, 0, figures, loop.elapsed / 60, loop.step)


def training_bar(label: str, total_steps: int, max_minutes: float | None, *, step: int, elapsed: float, main: bool) -> Any:
    """A tqdm bar from ``step``, after ``elapsed`` seconds; only the first process (``main``) shows one."""
    from tqdm import tqdm

    if max_minutes is None:
        return tqdm(total=total_steps, initial=step, desc=label, unit="step", disable=None if main else True)
    return tqdm(
        total=100.0,
        initial=round(min(elapsed / (0.6 * max_minutes), 100.0), 1),
        desc=label,
        unit="%",
        bar_format="{l_bar}{bar}| {n:.1f}/{total:.0f}{unit} [{elapsed}<{remaining}{postfix}]",
        disable=None if main else True,
    )


class FiniteCheck:
    """Collects losses on their device until someone asks."""

    def __init__(self) -> None:
        self._steps: list[tuple[int, tuple[str, ...], Tensor]] = []

    def note(self, step: int, losses: Mapping[str, Tensor]) -> None:
        """Remember which of the (scalar) losses of ``step`` are finite."""
        self._steps.append((step, tuple(losses), torch.stack([value.detach().float() for value in losses.values()])))

    def first_problem(self) -> tuple[int, str, float] | None:
        """(step, name, value) of the first loss since the last question that was not finite."""
        steps, self._steps = self._steps, []
        if not steps or bool(torch.isfinite(torch.cat([values for _, _, values in steps])).all()):
            return None
        for step, names, values in steps:
            for name, value in zip(names, values.tolist(), strict=True):
                if value - value != 0.0:
                    return step, name, value
        return None
