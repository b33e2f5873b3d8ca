"""Make a set, or go on with one: blocks are drawn, by one process or several, until every cell has its faces."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from configs.cli import UserError
from engine.storage.lock import FolderLock
from generation.dataset.blocks import block_path, draw_block, load_block, store_block
from generation.dataset.files import MANIFEST, write_dataset
from generation.dataset.order import DatasetRequest
from generation.dataset.selection import Selection
from generation.dataset.work import WORK, open_work, stop_at_ctrl_c, wait
from generation.draw import FaceModel

if TYPE_CHECKING:
    from accelerate import PartialState


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
            wanted = {"request": request.model_dump(mode="json"), "weights_sha256": model.weights}
            open_work(folder, MANIFEST, wanted, lambda found: _is_same(found, request, model), lock)
        wait(state)
        if not (folder / MANIFEST).exists():
            selection = collect(model, request, folder / WORK, state)
            if main:
                write_dataset(selection, folder / WORK, folder, model, command)
        if main:
            shutil.rmtree(folder / WORK, ignore_errors=True)
    wait(state)
    content: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    return content


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
    with tqdm(desc="drawing", unit="block", leave=False, disable=None if rank == 0 else True) as bar, stop_at_ctrl_c():
        while wanted := selection.missing():
            mine = share_of(wanted, len(request.cells), rank, world)
            bar.total = (bar.total or 0) + len(mine)
            for number in mine:
                if not block_path(blocks, number).exists():
                    store_block(blocks, draw_block(model, request, number))
                bar.update()
            wait(state)
            for number in wanted:
                selection.add(load_block(blocks, request, number, model.attributes))
    return selection


def share_of(wanted: Sequence[int], cells: int, rank: int, world: int) -> list[int]:
    """The numbers of the blocks that process ``rank`` of ``world`` draws.

    Of every cell, and of the cells of every emotion, each draws as many, to within one: some emotions take four times as many
    draws as others.
    """
    return [number for number in wanted if (number // cells + number % cells) % world == rank]
