"""The training loop that the encoder, the tokenizer and the prior share.

What makes a run resumable bit for bit is that nothing random is carried along: data order is a pure function of
(seed, step) (:mod:`encoder.batches`), and the random generators are re-seeded from (seed, step, rank) before every step.
A checkpoint is therefore weights, averages, optimiser moments, the step, and what earlier evaluations decided.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from configs.cli import UserError
from configs.loader import StrictModel, load_config
from encoder.atomic import atomic_write_text
from encoder.checkpoint import latest_checkpoint, step_folder
from encoder.ema import Ema
from encoder.stop_request import StopRequest
from encoder.tracking import Tracker
from encoder.training_checkpoint import judged, keep_best, restore_task, save_task

if TYPE_CHECKING:
    from accelerate import Accelerator


class TrainingTask(ABC):
    """What one stage of training adds to the loop: its modules, and what a step does with them."""

    modules: Mapping[str, nn.Module]
    optimizers: Mapping[str, torch.optim.Optimizer]
    emas: Mapping[str, Ema]
    images_per_step: int

    @abstractmethod
    def train_step(self, step: int, progress: float) -> dict[str, Tensor]:
        """One optimiser step. ``progress`` in [0, 1) is the share of the schedule already behind."""

    @abstractmethod
    def evaluate(self) -> dict[str, float]:
        """Figures on the validation split; ``score`` (higher is better) chooses the best checkpoint."""

    def after_evaluation(self, figures: Mapping[str, float]) -> None:  # noqa: B027
        """Take note of the figures of an evaluation within the schedule; by default nothing."""

    def state(self) -> dict[str, Any]:
        """What else a resumed run needs, as JSON holds it."""
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:  # noqa: B027
        """Restore what :meth:`state` gave."""


@dataclass(frozen=True)
class LoopSettings:
    """Length of a run and how often it looks up. ``max_minutes`` replaces ``total_steps`` when given.

    ``patience``: evaluations without a new best score that end the run early; None: it runs to its end. ``keep_best``: the
    averages of the best evaluation are what the run ends with, where they beat the last ones.
    """

    total_steps: int
    seed: int
    max_minutes: float | None = None
    evaluate_every: int = 500
    checkpoint_every: int = 500
    log_every: int = 20
    keep: int = 2
    patience: int | None = None
    keep_best: bool = False


@dataclass(frozen=True)
class Outcome:
    """Where the loop stopped: ``exit_code`` is 0 when the schedule was completed.

    ``minutes`` were spent in training, earlier parts of a resumed run included. ``kept`` is the step whose averages the
    task now holds.
    """

    step: int
    exit_code: int
    figures: Mapping[str, float]
    minutes: float
    kept: int


def bf16_is_fast(device: torch.device) -> bool:
    """Whether ``device`` multiplies bfloat16 in hardware (elsewhere it is emulated and slower than float32)."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    if device.type == "cpu":
        checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        return any(getattr(torch.cpu, name, lambda: False)() for name in checks)
    return False


def make_accelerator(device: str = "auto", precision: Literal["auto", "no", "bf16"] = "auto") -> Accelerator:
    """An Accelerator on the asked device. ``auto`` precision is bf16 where the hardware has it, else float32.

    Raises:
        UserError: a CUDA device is asked for and there is none.
    """
    from accelerate import Accelerator, PartialState

    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("device cuda: this machine has no CUDA device that torch can use; choose --device cpu")
    state = PartialState(cpu=True) if device == "cpu" else PartialState()
    chosen = precision if precision != "auto" else ("bf16" if bf16_is_fast(state.device) else "no")
    return Accelerator(mixed_precision=chosen, cpu=device == "cpu")


def cosine_schedule(progress: float, warmup: float = 0.03, floor: float = 0.01) -> float:
    """Factor on the peak learning rate: linear warm-up over ``warmup`` of the run, then a cosine to ``floor``."""
    if progress < warmup:
        return max(progress / warmup, 0.02)
    return floor + (1.0 - floor) * 0.5 * (1.0 + math.cos(math.pi * (progress - warmup) / (1.0 - warmup)))


def set_learning_rate(optimizer: torch.optim.Optimizer, value: float) -> None:
    """Set every group's rate to ``value`` times the group's own ``lr_scale``."""
    for group in optimizer.param_groups:
        group["lr"] = value * group.get("lr_scale", 1.0)


def decay_groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Parameter groups for AdamW: vectors and scalars (norms, biases) are not decayed."""
    matrices = [p for p in module.parameters() if p.requires_grad and p.ndim > 1]
    vectors = [p for p in module.parameters() if p.requires_grad and p.ndim <= 1]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]


def _seed_step(seed: int, step: int, rank: int) -> None:
    words = np.random.SeedSequence((seed, step, rank)).generate_state(2, np.uint32)
    torch.manual_seed(int(words[0]) << 32 | int(words[1]))


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr)


def open_run(run_dir: Path, config_text: str, resume: str | None, *, config: StrictModel | None = None) -> Path | None:
    """Prepare the run directory; the checkpoint to resume from, or None for a fresh start.

    Args:
        config: what ``config_text`` says. With it a stored file that lacks settings added since, with defaults that leave
            training as it was, counts as the same.

    Raises:
        UserError: the folder already holds a run and ``resume`` is not given, or there is nothing to resume.
    """
    found = latest_checkpoint(run_dir, log=_to_stderr) if (run_dir / "checkpoints").is_dir() else None
    if resume is None:
        if found is not None:
            raise UserError(f"{run_dir} already holds a run: continue it with --resume latest, or choose another --out")
        run_dir.mkdir(parents=True, exist_ok=True)
        atomic_write_text(run_dir / "config.yaml", config_text)
        return None
    if resume != "latest":
        return Path(resume)
    if found is None:
        raise UserError(f"--resume latest: {run_dir} holds no checkpoint that verifies; start without --resume")
    stored = run_dir / "config.yaml"
    if stored.is_file() and stored.read_text() != config_text and not _says(stored, config):
        raise UserError(f"--resume: the configuration differs from {stored}; resume with the same one, or start anew")
    return found


def _says(file: Path, config: StrictModel | None) -> bool:
    try:
        return config is not None and load_config(type(config), file) == config
    except UserError:  # settings that exist no longer
        return False


def _agree(accelerator: Accelerator, values: tuple[float, float]) -> tuple[float, float]:
    """The largest value of any process, so that all of them stop, and anneal, at the same step."""
    if accelerator.num_processes == 1:
        return values
    gathered = accelerator.gather(torch.tensor([values], device=accelerator.device, dtype=torch.float64))
    highest = gathered.max(dim=0).values.tolist()
    return highest[0], highest[1]


def run_training(
    task: TrainingTask,
    accelerator: Accelerator,
    run_dir: Path,
    settings: LoopSettings,
    *,
    label: str,
    resume_from: Path | None = None,
    tracker: Tracker | None = None,
) -> Outcome:
    """Train ``task`` to the end of its schedule, or until Ctrl-C / SIGTERM, checkpointing into ``run_dir``.

    With ``max_minutes`` the schedule is laid over the time spent in training, so that a short run still ends annealed.

    Raises:
        UserError: a loss is not finite (the last checkpoint is left intact), or a checkpoint cannot be used.
    """
    from tqdm import tqdm

    step, elapsed, best = 0, 0.0, dict[str, Any]()
    if resume_from is not None:
        step, elapsed, best = restore_task(task, resume_from)
        if accelerator.is_main_process:
            print(f"{label}: resumed from {resume_from} at step {step}", file=sys.stderr)
        if settings.keep_best and best and not step_folder(run_dir, best["step"]).is_dir():
            raise UserError(f"{run_dir} lacks the best checkpoint, of step {best['step']}; resume in the run's own --out")
    main = accelerator.is_main_process
    tracker = tracker or Tracker(run_dir, enabled=main)
    by_time = settings.max_minutes is not None
    budget = 60.0 * settings.max_minutes if settings.max_minutes is not None else math.inf
    figures: dict[str, float] = {}
    bar = tqdm(
        total=100.0 if by_time else settings.total_steps,
        initial=round(100 * min(elapsed / budget, 1), 1) if by_time else step,
        desc=label,
        unit="%" if by_time else "step",
        bar_format="{l_bar}{bar}| {n:.1f}/{total:.0f}{unit} [{elapsed}<{remaining}{postfix}]" if by_time else None,
        disable=None if main else True,
    )
    started = time.monotonic() - elapsed
    last_log = (time.monotonic(), step)
    with StopRequest() as stop, bar:
        while True:
            elapsed, stop_code = _agree(accelerator, (time.monotonic() - started, float(stop.exit_code)))
            progress = elapsed / budget if by_time else step / settings.total_steps
            finished = progress >= 1.0 or (settings.patience is not None and best.get("waited", 0) >= settings.patience)
            if stop_code or finished:
                break
            _seed_step(settings.seed, step, accelerator.process_index)
            losses = task.train_step(step, progress)
            for ema_name, ema in task.emas.items():
                ema.update(task.modules[ema_name])
            step += 1
            if step % settings.log_every == 0:
                values = {name: float(value) for name, value in losses.items()}
                wrong = [name for name, value in values.items() if not math.isfinite(value)]
                if wrong:
                    raise UserError(
                        f"{label}: {wrong[0]} is not finite at step {step}; the checkpoints in {run_dir} are from before: "
                        "resume from one with a lower learning rate"
                    )
                now = time.monotonic()
                rate = (step - last_log[1]) * task.images_per_step / (now - last_log[0])
                last_log = (now, step)
                tracker.log(step, {**values, "images_per_second": rate, "progress": progress})
                bar.set_postfix(loss=f"{values['loss']:.3f}", img_s=f"{rate:.0f}")
            bar.update(round(100 * min(progress, 1.0), 1) - bar.n if by_time else 1)
            if step % settings.evaluate_every == 0:
                figures = task.evaluate()
                # One score for all processes: they must end, and lower their rates, together.
                figures["score"] = _agree(accelerator, (figures["score"], 0.0))[0]
                task.after_evaluation(figures)
                best = judged(best, step, figures["score"])
                if main:
                    tracker.log(step, {f"valid/{name}": value for name, value in figures.items()})
                    shown = "  ".join(f"{name} {value:.4f}" for name, value in figures.items())
                    tqdm.write(f"{label} step {step}: {shown}", file=sys.stderr)
                last_log = (time.monotonic(), step)
            is_best = settings.keep_best and best.get("step") == step
            if main and (is_best or step % settings.checkpoint_every == 0):
                save_task(task, run_dir, step, time.monotonic() - started, best, settings.keep)
    if main:
        save_task(task, run_dir, step, elapsed, best, settings.keep)
        tracker.finish()
    accelerator.wait_for_everyone()
    if stop_code and not finished:
        if main:
            print(f"{label}: stopped at step {step}; continue with --resume latest", file=sys.stderr)
        return Outcome(step, int(stop_code), figures, elapsed / 60, step)
    figures = task.evaluate()
    if settings.keep_best and keep_best(task, run_dir, best, figures):
        return Outcome(step, 0, task.evaluate(), elapsed / 60, best["step"])
    return Outcome(step, 0, figures, elapsed / 60, step)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write ``content`` as indented JSON, complete or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write_text(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + os.linesep)
