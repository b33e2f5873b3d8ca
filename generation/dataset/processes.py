"""Several processes at one piece of work, as ``accelerate launch`` or ``torchrun`` start them."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING

import torch

from configs.cli import UserError

if TYPE_CHECKING:
    from accelerate import PartialState

# A process that has finished its share waits for the slowest; the default of ten minutes or half an hour is too short.
_PATIENCE = timedelta(hours=24)


def process_state(device: str = "auto") -> PartialState:
    """Accelerate's view of this process: its rank, how many there are, its device.

    Raises:
        UserError: CUDA is asked for and there is none.
    """
    from accelerate import PartialState

    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("device cuda: this machine has no CUDA device that torch can use; choose --device cpu")
    # Without a GPU, Accelerate makes a process group only where the CPU is asked for by name.
    cpu = device == "cpu" or not torch.cuda.is_available()
    return PartialState(cpu=cpu) if os.environ.get("WORLD_SIZE", "1") == "1" else PartialState(cpu=cpu, timeout=_PATIENCE)
