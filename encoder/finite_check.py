"""Finds the first step whose losses were not finite, without making a GPU wait at every step."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


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
