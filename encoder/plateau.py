"""A learning rate that falls when the validation score stops rising."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Plateau:
    """Counts evaluations without a new best score; after ``patience`` of them the rate is multiplied by ``factor``.

    The state is part of a checkpoint, so that a resumed run lowers its rate at the same evaluation.
    """

    def __init__(self, factor: float, patience: int) -> None:
        self.factor, self.patience = factor, patience
        self.rate = 1.0
        self._best: float | None = None
        self._waited = 0

    def update(self, score: float) -> bool:
        """Take note of one evaluation (higher is better); whether the rate fell."""
        if self._best is None or score > self._best:
            self._best, self._waited = score, 0
            return False
        self._waited += 1
        if self._waited < self.patience:
            return False
        self.rate *= self.factor
        self._waited = 0
        return True

    def state(self) -> dict[str, Any]:
        """What :meth:`load_state` restores, as JSON holds it."""
        return {"rate": self.rate, "best": self._best, "waited": self._waited}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from a stored state."""
        self.rate, self._best, self._waited = float(state["rate"]), state["best"], int(state["waited"])
