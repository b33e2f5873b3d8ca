"""How far and in which direction a step goes: learning rates, decay, and gradients gathered over parts of a batch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from configs.cli import UserError

if TYPE_CHECKING:
    from accelerate import Accelerator


def cosine_schedule(progress: float, warmup: float = 0.03, floor: float = 0.01) -> float:
    """Factor on the peak learning rate: linear warm-up over ``warmup`` of the run, then a cosine to ``floor``."""
    if progress < warmup:
        return max(progress / warmup, 0.02)
    return floor + (1.0 - floor) * 0.5 * (1.0 + math.cos(math.pi * (progress - warmup) / (1.0 - warmup)))


_WARMUP_STEPS = 200


def constant_schedule(step: int, progress: float, decay_from: float) -> float:
    """Factor on the peak learning rate: warm-up over the first steps, level, then from ``decay_from`` of the run to zero.

    What is learnt before the decay does not depend on how long the run will be (Hägele et al., 2024), so its end may be
    decided late. The decay is theirs, 1 - sqrt.
    """
    left = 1.0 if progress < decay_from else 1.0 - math.sqrt((progress - decay_from) / (1.0 - decay_from))
    return min(1.0, (step + 1) / _WARMUP_STEPS) * left


def rate_factor(schedule: Literal["cosine", "constant"], step: int, progress: float, decay_from: float) -> float:
    """Factor on the peak learning rate in ``step``, under the schedule of that name."""
    return cosine_schedule(progress) if schedule == "cosine" else constant_schedule(step, progress, decay_from)


def set_learning_rate(optimizer: torch.optim.Optimizer, value: float) -> None:
    """Set every group's rate to ``value`` times the group's own ``lr_scale``."""
    for group in optimizer.param_groups:
        group["lr"] = value * group.get("lr_scale", 1.0)


def decay_groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Parameter groups for AdamW: vectors and scalars (norms, biases) are not decayed."""
    matrices = [p for p in module.parameters() if p.requires_grad and p.ndim > 1]
    vectors = [p for p in module.parameters() if p.requires_grad and p.ndim <= 1]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]


def adamw(groups: list[dict[str, Any]], **options: Any) -> torch.optim.Optimizer:
    """AdamW; on a GPU in its fused form, which updates all parameters in one kernel."""
    cuda = any(parameter.is_cuda for group in groups for parameter in group["params"])
    return torch.optim.AdamW(groups, fused=True if cuda else None, **options)


def check_accumulation(name: str, batch_size: int, world: int, accumulate: int) -> None:
    """Refuse a batch that cannot be cut into ``accumulate`` equal parts in each process.

    Raises:
        UserError: naming the setting ``name``.
    """
    if batch_size % (world * accumulate):
        raise UserError(
            f"{name}: {batch_size} cannot be shared by {world} process(es) in {accumulate} part(s) each; "
            f"use a multiple of {world * accumulate}"
        )


def gathering(accelerator: Accelerator, module: nn.Module, parts: list[Any]) -> Iterator[Any]:
    """The parts of a batch in turn; the gradients of several processes are joined at the last one only."""
    for number, part in enumerate(parts, 1):
        with accelerator.no_sync(module) if number < len(parts) else nullcontext():
            yield part


def take_step(
    accelerator: Accelerator,
    module: nn.Module,
    optimizer: torch.optim.Optimizer | Sequence[torch.optim.Optimizer],
    largest: float | None = None,
) -> Tensor:
    """Move the parameters, with gradients scaled down to a norm of ``largest``; returns the norm they had."""
    norm = accelerator.clip_grad_norm_(module.parameters(), math.inf if largest is None else largest)
    for each in optimizer if isinstance(optimizer, Sequence) else (optimizer,):
        each.step()
        each.zero_grad(set_to_none=True)
    return norm.detach()


def plateau_schedule(optimizer: torch.optim.Optimizer, factor: float, patience: int) -> ReduceLROnPlateau:
    """Multiplies the rates by ``factor`` after ``patience`` evaluations in a row without a new best (highest) score."""
    return ReduceLROnPlateau(optimizer, "max", factor, patience - 1, threshold=0.0, threshold_mode="abs", eps=0.0)
