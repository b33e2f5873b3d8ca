"""Choice of the device that reads or makes faces."""

from __future__ import annotations

import torch

from configs.cli import UserError


def resolve_device(name: str) -> torch.device:
    """``auto``: CUDA where there is one, else the CPU; any other name is used as it is or refused, never replaced.

    Raises:
        UserError: a device that this machine does not have.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"device {name!r} cannot be used here ({reason}); choose --device cpu") from None
    return device
