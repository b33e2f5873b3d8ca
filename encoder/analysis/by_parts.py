"""Reading in parts: each process its share of them, each part read once, whatever ends the work before it is done."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.cli import UserError
from encoder.analysis.analyzer import FaceAnalyzer
from encoder.analysis.columns import Columns
from encoder.analysis.inputs import find_inputs, measured
from encoder.analysis.part_folder import COUNTS, PartFolder
from encoder.analysis.parts import Part, checked_columns, deal, make_parts
from encoder.analysis.rows import NO_FACE
from encoder.analysis.shard_views import view_inputs
from encoder.analysis.tables import table_in_memory
from engine.storage.weights import file_sha256, read_config, resolve_folder
from engine.training.agreement import Agreement

if TYPE_CHECKING:
    from accelerate import PartialState

# Parts in a row that storage may keep back before it is taken for gone.
_MOST_FAILED = 10


def claim(folder: PartFolder, names: Sequence[str], columns: Columns, settings: Mapping[str, Any], weights: str) -> None:
    """Make ``folder`` that of reading ``names`` so; what is finished of it stays. For one process, before all open it.

    Args:
        settings: what decides the rows beside the weights, plain data or paths; ``part_size`` in MiB is among them.
        weights: folder of the encoder.

    Raises:
        UserError: nothing is behind a name, a shard lacks a column, or the folder holds something else.
    """
    hashes = {"encoder": read_config(resolve_folder(weights), "encoder")["sha256"]}
    plain = {name: str(value) if isinstance(value, Path) else value for name, value in settings.items()}
    for name in ("gender", "gallery"):
        where = settings.get(f"{name}_weights") if settings.get(name) is True else settings.get(name)
        if where and Path(where).is_dir():
            hashes[name] = _folder_sha256(Path(where))
    inputs = [measured(each) for each in find_inputs(names).inputs]

    def plan() -> tuple[list[Part], dict[str, str]]:
        kept = checked_columns(inputs, columns).kept_kinds
        return make_parts(inputs, settings["part_size"] * 2**20), kept

    folder.claim({"settings": plain, "weights_sha256": hashes}, inputs, plan)


def _folder_sha256(folder: Path) -> str:
    """One hash of the names and contents of all files below a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    text = "\n".join(f"{path.relative_to(folder).as_posix()} {file_sha256(path)}" for path in files)
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()


def read_part(
    analyzer: FaceAnalyzer,
    part: Part,
    columns: Columns,
    *,
    landmarks: bool = False,
    every: int = 1,
    rate: float | None = None,
) -> tuple[bytes, dict[str, int]]:
    """The rows of a part as a Parquet file, and how many rows, pictures, faces, pictures without a face and problems it holds.

    Raises:
        UserError: storage fails. Damaged pictures and shards are rows that say so.
    """
    units = () if analyzer.action_units is None else analyzer.action_units.columns
    table, stream = table_in_memory(landmarks=landmarks, units=units, kept=columns.kept_kinds)
    counts = dict.fromkeys(("rows", *COUNTS), 0)
    groups = None if part.groups is None else range(*part.groups)
    for reading in analyzer.stream(view_inputs(part.inputs, columns, groups=groups, every=every, rate=rate)):
        for row in reading.rows:
            table.write(row, reading.view.kept)
            counts["rows"] += 1
            problem = row.problem not in (None, NO_FACE)
            counts["problems"] += problem
            counts["pictures"] += not problem and not row.face
            counts["faces"] += row.problem is None
            counts["without_face"] += row.problem == NO_FACE
    table.close()
    return stream.getvalue(), counts


def read_by_parts(
    analyzer: FaceAnalyzer,
    folder: PartFolder,
    columns: Columns,
    state: PartialState,
    *,
    share: tuple[int, int] = (1, 1),
    **how: Any,
) -> None:
    """Make what is missing of an open folder, this process what falls to it. Parts that storage keeps back stay missing.

    Args:
        state: of the processes that were launched together; all of them call this.
        share: (i, n): of the whole, the i-th of n such launches takes its share, which depends on nothing else.
        how: as for :func:`read_part`.

    Raises:
        UserError: the folder cannot be written, or storage is gone. All processes end then.
    """
    from tqdm import tqdm

    agreement, rank, world = Agreement(state), state.process_index, state.num_processes
    finished = folder.finished()
    # Nobody writes before everybody has looked: who saw more finished would deal otherwise.
    agreement.end_if(None)
    ours = deal(folder.parts, share[1])[share[0] - 1]
    mine = deal([part for part in ours if part.number not in finished], world)[rank]
    in_a_row, end = 0, None
    for part in tqdm(mine, desc="reading", unit="part", leave=False, disable=None if rank == 0 else True):
        try:
            table, counts = read_part(analyzer, part, columns, **how)
        except UserError as error:
            in_a_row += 1
            tqdm.write(f"left for another time: {part.name}: {error}", file=sys.stderr)
            if in_a_row == _MOST_FAILED:
                end = f"{in_a_row} parts in a row could not be read; the last: {error}"
                break
            continue
        in_a_row = 0
        try:
            folder.keep(part, table, counts)
        except UserError as error:
            end = str(error)
            break
    # Its patience is longer than that of the agreement.
    state.wait_for_everyone()
    agreement.end_if(end)


def missing(folder: PartFolder, share: tuple[int, int] = (1, 1)) -> int:
    """How many parts of an open folder, or of a share of it, are not finished."""
    done = folder.finished()
    return sum(part.number not in done for part in deal(folder.parts, share[1])[share[0] - 1])


def summary(content: Mapping[str, Any], out: str) -> str:
    """What a finished folder holds, in one line."""
    parts: Sequence[Any] = content["parts"]
    said = f"{content['faces']:,} face(s) in {content['pictures']:,} picture(s)"
    said += f"; {content['without_face']:,} without a face" if content["without_face"] else ""
    said += f"; {content['problems']:,} problem(s)" if content["problems"] else ""
    return f"{said}; {len(parts):,} part(s) in {out}"
