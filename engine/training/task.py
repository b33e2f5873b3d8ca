"""What a training must offer to the loop, and what the loop gives back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from engine.training.batch_stream import BatchStream
from engine.training.batches import GlobalBatches
from engine.training.ema import Ema


class TrainingTask(ABC):
    """What one stage of training adds to the loop: its modules, and what a step does with them."""

    modules: Mapping[str, nn.Module]
    optimizers: Mapping[str, torch.optim.Optimizer]
    emas: Mapping[str, Ema]
    batches: GlobalBatches
    stream: BatchStream | None = None
    """Gives batches that have to be read, which can fail; None: all is in memory."""

    def fetch(self, step: int) -> None:
        """Read what ``step`` learns from.

        Raises:
            UserError: it cannot be read. All processes end then, so nothing may be exchanged between them here.
        """
        if self.stream is not None:
            self.stream.fetch(step)

    def close(self) -> None:
        """End what makes batches beside training."""
        if self.stream is not None:
            self.stream.close()

    @abstractmethod
    def train_step(self, step: int, progress: float) -> dict[str, Tensor]:
        """One optimiser step; its losses, and ``gradient_norm`` before clipping.

        ``progress`` in [0, 1) is the share of the schedule already behind.
        """

    @abstractmethod
    def evaluate(self) -> dict[str, float]:
        """Figures on the validation split; ``score`` (higher is better) chooses the best checkpoint."""

    def after_evaluation(self, figures: Mapping[str, float]) -> None:  # noqa: B027
        """Take note of the figures of an evaluation within the schedule; by default nothing."""

    def pictures(self) -> dict[str, bytes]:
        """PNG files by name that show how far training is; only the first process asks."""
        return {}

    def state(self) -> dict[str, Any]:
        """What else a resumed run needs, as JSON holds it."""
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:  # noqa: B027
        """Restore what :meth:`state` gave."""


@dataclass(frozen=True)
class LoopSettings:
    """Length of a run and how often it looks up. ``max_minutes`` replaces ``total_steps`` when given.

    ``patience``: evaluations without a new best score that end the run early; None: it runs to its end. ``keep_best``: the
    averages of the best evaluation are what the run ends with, where they beat the last ones. ``checkpoint_minutes``: at most
    so long without a checkpoint, however slow the steps are; None: by steps alone.
    """

    total_steps: int
    seed: int
    max_minutes: float | None = None
    evaluate_every: int = 500
    checkpoint_every: int = 500
    checkpoint_minutes: float | None = None
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
