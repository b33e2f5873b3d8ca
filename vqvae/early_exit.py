"""Fitting of a prior's early exit, last of all: what is read off there is a weaker prior, for guidance away from it.

Autoguidance (Karras et al., 2024) leads away from a smaller model that was told the same: where the small one errs, the large
one errs in the same direction, less. Here the small one is read off after some of the blocks: it costs no pass of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from engine.training.optimization import constant_schedule, set_learning_rate
from vqvae.prior import MaskedPrior

_RATE, _DECAY_FROM = 2e-3, 0.7


def fit_exit(
    prior: MaskedPrior,
    batches: Iterator[tuple[Tensor, ...]],
    steps: int,
    autocast: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> float:
    """Train the exit of ``prior`` and nothing else of it.

    Args:
        batches: ``steps`` times what :meth:`vqvae.prior.MaskedPrior.forward` takes, on the device of the prior.
        autocast: makes what the forward pass of a step runs under; one for all steps would keep the weights of the first.

    Returns:
        the mean cross-entropy of the last tenth of the steps, in nats a code: of the exit.
    """
    if prior.exit is None:
        raise ValueError("this prior has no exit")
    was_training = prior.training
    prior.eval().requires_grad_(False)
    leave = prior.exit.requires_grad_(True)
    optimizer = torch.optim.AdamW(leave.parameters(), lr=_RATE, betas=(0.9, 0.98), weight_decay=0.01)
    losses: list[float] = []
    for step, (tokens, hidden, emotion, source, attributes) in zip(range(steps), batches, strict=False):
        set_learning_rate(optimizer, _RATE * constant_schedule(step, step / steps, _DECAY_FROM))
        with autocast():
            with torch.no_grad():
                reached = prior.trunk(tokens, hidden, emotion, source, attributes=attributes, leave=prior.shape.exit)[hidden]
            loss = prior.code_loss(leave(reached.float()), tokens[hidden])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    leave.requires_grad_(False)
    prior.train(was_training)
    last = losses[-max(1, len(losses) // 10) :]
    return sum(last) / len(last)
