"""Training: the loop, its checkpoints, batches that are a function of seed and step, tracking, Ctrl-C."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.training.session import open_training

__all__ = ["open_training"]


def __getattr__(name: str) -> Any:
    if name == "open_training":  # loads torch, which a command line that only shows its help can do without
        from engine.training.session import open_training

        return open_training
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
