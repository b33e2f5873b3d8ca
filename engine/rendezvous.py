"""Where processes that were launched together find each other, or end: torch waits half an hour for a launcher that is gone."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch.distributed as dist

from configs.cli import LAUNCHER, UserError

_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl(2)
_STORE_MAY_TAKE = 60.0


@contextmanager
def ended_with_launcher() -> Iterator[None]:
    """Within, where processes find each other, the end of the launcher ends this one, too, by SIGKILL (on Linux).

    Torch hears no other signal there, and nothing has been written yet. Without a launcher nothing is changed.

    Raises:
        UserError: the launcher has ended before, or the processes did not find each other.
    """
    if LAUNCHER is None:
        yield
        return
    _when_parent_ends(signal.SIGKILL)
    try:
        if os.getppid() != LAUNCHER or not _store_answers():
            raise UserError("the launcher (torchrun or accelerate launch) has ended; start it again")
        yield
    except dist.DistError as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"the launched processes did not find each other ({reason}); start the launcher again") from None
    finally:
        _when_parent_ends(0)


def _when_parent_ends(number: int) -> None:
    """Let the kernel send this process a signal when its parent ends; 0: none."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, number, 0, 0, 0)


def _store_answers() -> bool:
    """Whether torchrun's own store, through which processes find each other, takes a connection; True where there is none.

    It stands before any of them is started. A launcher that ended before this process could ask who that is shows only here.
    """
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        return True
    try:
        place = (os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]))
        socket.create_connection(place, timeout=_STORE_MAY_TAKE).close()
    except OSError:
        return False
    return True
