"""The device and the processes that a program runs on, and what is done to go faster there."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterable
from datetime import timedelta
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal

import torch
import torch.distributed as dist
from torch import nn

from configs.cli import UserError, leave_taking
from engine.rendezvous import ended_with_launcher
from engine.threads import settle_threads

if TYPE_CHECKING:
    from accelerate import Accelerator, PartialState

# A process that has finished its share waits for the slowest; the default of ten minutes or half an hour is too short.
_PATIENCE = timedelta(hours=24)


def bf16_is_fast(device: torch.device) -> bool:
    """Whether ``device`` multiplies bfloat16 in hardware (elsewhere it is emulated and slower than float32)."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        return any(getattr(torch.cpu, name, lambda: False)() for name in checks)
    return False


def make_accelerator(device: str = "auto", precision: Literal["auto", "no", "bf16"] = "auto") -> Accelerator:
    """An Accelerator on the asked device, in as many processes as were launched.

    ``auto`` precision is bf16 where the hardware has it, else float32.

    Raises:
        UserError: accelerate is not installed, a CUDA device is asked for and there is none, or the launched processes do
            not find each other.
    """
    _require_accelerate()
    from accelerate import Accelerator, PartialState
    from accelerate.utils import TorchDynamoPlugin

    _require_cuda_if_asked(device)
    # Accelerate runs several processes on the CPU only if it is told to use it: else each of them trains alone.
    cpu = device == "cpu" or (launched() > 1 and not torch.cuda.is_available())
    with ended_with_launcher():
        state = PartialState(cpu=True) if cpu else PartialState()
    _require_all(state)
    settle_threads()
    chosen = precision if precision != "auto" else ("bf16" if bf16_is_fast(state.device) else "no")
    # Compiling is done part by part (see compile_parts), not by Accelerate, which would compile across the codebook.
    return Accelerator(mixed_precision=chosen, cpu=cpu, dynamo_plugin=TorchDynamoPlugin(backend="no"))


def process_state(device: str = "auto") -> PartialState:
    """Accelerate's view of this process, for work that is shared and no training: its rank, how many there are, its device.

    Raises:
        UserError: accelerate is not installed, CUDA is asked for and there is none, or the launched processes do not find
            each other.
    """
    _require_accelerate()
    from accelerate import PartialState

    _require_cuda_if_asked(device)
    # Without a GPU, Accelerate makes a process group only where the CPU is asked for by name.
    cpu = device == "cpu" or not torch.cuda.is_available()
    with ended_with_launcher():
        state = PartialState(cpu=cpu) if launched() == 1 else PartialState(cpu=cpu, timeout=_PATIENCE)
    _require_all(state)
    settle_threads()
    return state


def _require_cuda_if_asked(device: str) -> None:
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("device cuda: this machine has no CUDA device that torch can use; choose --device cpu")


def _require_accelerate() -> None:
    if find_spec("accelerate") is None:
        raise UserError("training, and work that several processes share, need accelerate: pip install 'mimique[train]'")


def launched() -> int:
    """How many processes do this work together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def _require_all(state: PartialState) -> None:
    """See to it that the launched processes found each other, and that they part in order."""
    if state.num_processes != launched():
        raise UserError(
            f"{launched()} processes were launched, but this one sees {state.num_processes}; start them with torchrun or "
            "accelerate launch, and with device=cpu where there is no GPU"
        )
    if dist.is_available() and dist.is_initialized():
        leave_taking(_leave_group)


def _leave_group() -> None:
    """End the threads that exchange tensors: one that still lets go of a tensor when the interpreter ends would abort it.

    A group that anything refers to keeps its threads, hence the two sweeps.
    """
    gc.collect()
    if dist.is_initialized():
        dist.destroy_process_group()
    gc.collect()


def compile_backend(asked: bool) -> str | None:
    """The compiler to use: ``inductor`` if asked for, or what ``accelerate launch`` was told; None: none."""
    launched = os.environ.get("ACCELERATE_DYNAMO_BACKEND", "no").lower()
    return launched if launched != "no" else ("inductor" if asked else None)


def compile_parts(parts: Iterable[nn.Module], asked: bool) -> None:
    """Compile each module in place, if that is to be: its weights keep their names, checkpoints stay the same."""
    backend = compile_backend(asked)
    for part in parts if backend is not None else ():
        part.compile(backend=backend)


def describe(accelerator: Accelerator, compile_asked: bool | None = None) -> str:
    """Where a training runs, for its first line; None: it is never compiled."""
    compiled = None if compile_asked is None else compile_backend(compile_asked)
    many = f"{accelerator.num_processes} processes, " if accelerator.num_processes > 1 else ""
    how = f", compiled by {compiled}" if compiled else ""
    threads = f" with {torch.get_num_threads()} thread(s)" if accelerator.device.type == "cpu" else ""
    return f"{many}{accelerator.device}{threads}, precision {accelerator.mixed_precision}{how}"


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
