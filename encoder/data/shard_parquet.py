"""Random access to faces in Parquet files: a face is a row, read with the group of rows around it."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np

from configs.cli import UserError
from encoder.data.face_set import FaceSet
from encoder.data.ferplus import vote_distributions
from encoder.data.shard_files import ShardFile, ShardFiles
from encoder.emotions import NUM_EMOTIONS

# Groups of rows kept decoded: a window of a shuffle by blocks touches about so many.
_KEPT_GROUPS = 64


def _open(files: ShardFiles, name: str) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        found = pq.ParquetFile(files.open(name), pre_buffer=False)
        if "image" not in found.schema_arrow.names:
            raise UserError(f"{files.place}/{name}: no column 'image'; it has {', '.join(found.schema_arrow.names)}")
        return found
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{files.place}/{name}: cannot be read as Parquet ({error})") from None


def parquet_samples(files: ShardFiles, shard: ShardFile) -> list[tuple[int, int, list[float] | int]]:
    """(row, 0, emotion) of every row, from the columns ``votes`` and ``fer2013_label`` where they are."""
    with _open(files, shard.name) as table:
        names = [name for name in ("fer2013_label", "votes") if name in table.schema_arrow.names]
        samples: list[tuple[int, int, list[float] | int]] = []
        for batch in table.iter_batches(batch_size=4096, columns=names, use_threads=False) if names else ():
            emotions = _emotions(batch)
            for row in emotions.tolist():
                samples.append((len(samples), 0, row if any(row) else -1))
        return samples or [(row, 0, -1) for row in range(table.metadata.num_rows)]


def _emotions(batch: Any) -> np.ndarray:
    """(N, 7) distributions of a batch of rows, by the rules of :meth:`encoder.data.face_set.FaceSet.distributions`."""
    count, names = batch.num_rows, batch.schema.names
    known = batch.column("fer2013_label").to_pylist() if "fer2013_label" in names else [None] * count
    labels = np.array([-1 if label is None or not 0 <= label < NUM_EMOTIONS else label for label in known], np.int8)
    votes = np.zeros((count, 10), np.int16)
    if "votes" in names:
        for row, given in enumerate(batch.column("votes").to_pylist()):
            votes[row] = given if given is not None else 0
    blank = np.zeros((count, 1, 1), np.uint8)
    return FaceSet(blank, labels, vote_distributions(votes), tuple(map(str, range(count))), "parquet").distributions()


class ParquetRows:
    """Pictures of rows, with the groups they stand in kept for the next ones."""

    def __init__(self, files: ShardFiles) -> None:
        self._files = files
        self._tables: dict[str, tuple[Any, np.ndarray]] = {}
        self._groups: OrderedDict[tuple[str, int], list[bytes | None]] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        return {"_files": self._files, "_tables": {}, "_groups": OrderedDict()}

    def read(self, name: str, row: int) -> bytes:
        """The bytes of the picture in a row; empty where there is none."""
        if name not in self._tables:
            if len(self._tables) >= _KEPT_GROUPS:
                self._tables.pop(next(iter(self._tables)))[0].close()
            table = _open(self._files, name)
            sizes = [table.metadata.row_group(number).num_rows for number in range(table.metadata.num_row_groups)]
            self._tables[name] = (table, np.cumsum([0, *sizes]))
        table, starts = self._tables[name]
        group = int(np.searchsorted(starts, row, side="right")) - 1
        key = (name, group)
        if key not in self._groups:
            if len(self._groups) >= _KEPT_GROUPS:
                self._groups.popitem(last=False)
            column = table.read_row_group(group, columns=["image"], use_threads=False).column("image").combine_chunks()
            self._groups[key] = column.field("bytes").to_pylist() if hasattr(column, "field") else column.to_pylist()
        self._groups.move_to_end(key)
        return self._groups[key][row - int(starts[group])] or b""
