"""Exponential moving average of a module's weights."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


class Ema:
    """A smoothed copy of ``module``: parameters are averaged, **buffers are copied**, and so is what is frozen.

    Averaging buffers too would smooth batch statistics and codebooks a second time (they are running averages already),
    and leaving them out, as several libraries do, ships a model with a codebook from step 0. An average of equal numbers is
    not always that number (of two negative zeros it is a positive one): what is frozen must stay the same bit for bit.

    The decay rises from 0.1 to ``decay`` as ``(1 + n) / (10 + n)``, so that early weights are forgotten quickly; ``n``
    is part of the state, because a resumed average that starts counting anew overwrites itself.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.module = copy.deepcopy(module).eval().requires_grad_(False)
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, source: nn.Module) -> None:
        """Move the average towards ``source`` by one step."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        averaged: list[Tensor] = []
        current: list[Tensor] = []
        copied: list[tuple[Tensor, Tensor]] = list(zip(self.module.buffers(), source.buffers(), strict=True))
        for mine, theirs in zip(self.module.parameters(), source.parameters(), strict=True):
            if theirs.requires_grad:
                averaged.append(mine)
                current.append(theirs.detach())
            else:
                copied.append((mine, theirs))
        if averaged:
            torch._foreach_lerp_(averaged, current, 1.0 - decay)
        for kept, original in copied:
            kept.copy_(original)
        self.updates += 1

    def state(self) -> dict[str, Tensor]:
        """Tensors of the averaged module, named as in its ``state_dict``."""
        return self.module.state_dict()
