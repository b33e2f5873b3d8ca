"""Make a set, or go on with one: blocks are drawn, by one process or several, until every emotion has its faces."""

from __future__ import annotations

import json
import shutil
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from tqdm import tqdm

from configs.cli import INTERRUPT_EXIT, UserError
from engine.storage.atomic import atomic_write_text, clear_drafts, explain_write_error
from engine.storage.lock import LOCK, FolderLock
from engine.threads import keep_threads
from generation.dataset.blocks import block_path, draw_block, load_block, store_block
from generation.dataset.files import MANIFEST, write_dataset
from generation.dataset.order import DatasetRequest
from generation.dataset.selection import Selection
from generation.draw import FaceModel

if TYPE_CHECKING:
    from accelerate import PartialState

WORK = ".work"


def make_dataset(
    model: FaceModel, request: DatasetRequest, folder: Path, *, command: str = "", state: PartialState | None = None
) -> dict[str, Any]:
    """Make the set in ``folder``, or go on with it; returns its manifest.

    Args:
        model: on the device of this process.
        command: how the set is made again; stored in manifest and card.
        state: Accelerate's state where several processes share the work; every one of them calls this.

    Raises:
        UserError: the folder holds another set, another process makes one there, or it cannot be written.
    """
    main = state is None or state.is_main_process
    request = request.spelt_out(model)
    with closing(FolderLock(folder / WORK, "makes a set")) as lock:
        if main:
            _open_work(folder, request, model, lock)
        _wait(state)
        if not (folder / MANIFEST).exists():
            selection = collect(model, request, folder / WORK, state)
            if main:
                write_dataset(selection, folder / WORK, folder, model, command)
        if main:
            shutil.rmtree(folder / WORK, ignore_errors=True)
    _wait(state)
    content: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    return content


def _wait(state: PartialState | None) -> None:
    if state is not None:
        state.wait_for_everyone()


def _open_work(folder: Path, request: DatasetRequest, model: FaceModel, lock: FolderLock) -> None:
    """Prepare the folder, or make sure that what it holds belongs to this request; what was half written goes."""
    wanted = {"request": request.model_dump(mode="json"), "weights_sha256": model.weights, "threads": torch.get_num_threads()}
    stored = folder / WORK / "request.json"
    try:
        for place in (folder / MANIFEST, stored):
            if place.is_file():
                found = json.loads(place.read_text(encoding="utf-8"))
                if not _is_same(found, request, model):
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
        atomic_write_text(stored, json.dumps(wanted, indent=2) + "\n")
    except OSError as error:
        raise UserError(f"{folder}: cannot be used: {explain_write_error(error)}") from None
    except ValueError:
        raise UserError(f"{stored}: cannot be read; remove {folder} and start anew") from None


def _is_same(found: dict[str, Any], request: DatasetRequest, model: FaceModel) -> bool:
    """Whether a stored request asks for the same; settings that came after it stand at their defaults."""
    try:
        stored = DatasetRequest.model_validate_json(json.dumps(found["request"])).spelt_out(model)
        return stored == request and found["weights_sha256"] == model.weights
    except (KeyError, TypeError, ValueError, UserError):
        return False


def collect(model: FaceModel, request: DatasetRequest, blocks: Path, state: PartialState | None = None) -> Selection:
    """Draw blocks, this process its share of them, until the set is full or its candidates are used up."""
    rank, world = (0, 1) if state is None else (state.process_index, state.num_processes)
    selection = Selection(request)
    with tqdm(desc="drawing", unit="block", leave=False, disable=None if rank == 0 else True) as bar, _stop_at_ctrl_c():
        while wanted := selection.missing():
            mine = share_of(wanted, len(request.emotions), rank, world)
            bar.total = (bar.total or 0) + len(mine)
            for number in mine:
                if not block_path(blocks, number).exists():
                    store_block(blocks, draw_block(model, request, number))
                bar.update()
            _wait(state)
            for number in wanted:
                selection.add(load_block(blocks, request, number, model.attributes))
    return selection


def share_of(wanted: Sequence[int], emotions: int, rank: int, world: int) -> list[int]:
    """The numbers of the blocks that process ``rank`` of ``world`` draws.

    Of every emotion each draws as many, to within one: some emotions take four times as many draws as others.
    """
    return [number for number in wanted if number // emotions % world == rank]


@contextmanager
def _stop_at_ctrl_c() -> Iterator[None]:
    """Ctrl-C ends the process and not only the request: a block with some of its faces missing must not be kept."""

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
