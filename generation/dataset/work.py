"""The folder of a set that is being made: whose it is, what an earlier run left, and how a run is stopped."""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from configs.cli import INTERRUPT_EXIT, UserError
from engine.storage.atomic import atomic_write_text, clear_drafts, explain_write_error
from engine.storage.lock import LOCK, FolderLock
from engine.threads import keep_threads

if TYPE_CHECKING:
    from accelerate import PartialState

WORK = ".work"


def wait(state: PartialState | None) -> None:
    """Until every process has come here."""
    if state is not None:
        state.wait_for_everyone()


def open_work(
    folder: Path, manifest: str, wanted: Mapping[str, Any], same: Callable[[dict[str, Any]], bool], lock: FolderLock
) -> None:
    """Prepare the folder, or make sure that what it holds belongs to this request; what was half written goes.

    Args:
        manifest: the file that is there when the set is complete. wanted: what is stored of the request until then.
        same: whether a stored request, or a manifest, is of this set.

    Raises:
        UserError: it holds something else, another process works in it, or it cannot be used.
    """
    stored = folder / WORK / "request.json"
    try:
        for place in (folder / manifest, stored):
            if place.is_file():
                found = json.loads(place.read_text(encoding="utf-8"))
                if not same(found):
                    raise UserError(f"{folder}: holds a set made with other settings or weights; choose another --out")
                if place == stored:
                    lock.take()
                    clear_drafts(folder)
                    # Half a set of one rounding and half of another would be none that can be made again.
                    keep_threads(found.get("threads", torch.get_num_threads()))
                return
        if folder.is_dir() and any(path.name != WORK for path in folder.iterdir()):
            raise UserError(f"{folder}: is not empty and holds no set of this program; choose another --out")
        (folder / WORK).mkdir(parents=True, exist_ok=True)
        lock.take()
        # Without its request, what an earlier run left says nothing.
        for path in (folder / WORK).iterdir():
            if path.name != LOCK:
                path.unlink()
        atomic_write_text(stored, json.dumps({**wanted, "threads": torch.get_num_threads()}, indent=2) + "\n")
    except OSError as error:
        raise UserError(f"{folder}: cannot be used: {explain_write_error(error)}") from None
    except ValueError:
        raise UserError(f"{stored}: cannot be read; remove {folder} and start anew") from None


@contextmanager
def stop_at_ctrl_c() -> Iterator[None]:
    """Ctrl-C ends the process and not only the request: a unit of work with some of its faces missing must not be kept."""

    def stop(_number: int, _frame: object) -> None:
        print("\nstopped by Ctrl-C; the same command goes on", file=sys.stderr)
        raise SystemExit(INTERRUPT_EXIT)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
