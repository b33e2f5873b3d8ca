"""Random access to faces in Parquet files: a face is a row, read with the group of rows around it."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np

from configs.cli import UserError
from encoder.data.face_parquet import check_type, pa_types, parquet_errors
from encoder.data.face_set import FaceSet, are_votes, votes_wanted
from encoder.data.ferplus import vote_distributions
from encoder.data.shard_files import ShardFile, ShardFiles
from encoder.emotions import NUM_EMOTIONS

# Groups of rows kept decoded: a window of a shuffle by blocks touches about so many.
_KEPT_GROUPS = 64
_LABELS = ("fer2013_label", "votes")


def _open(files: ShardFiles, name: str) -> Any:
    import pyarrow.parquet as pq

    place = f"{files.place}/{name}"
    with parquet_errors(place):
        found = pq.ParquetFile(files.open(name), pre_buffer=False)
        schema = found.schema_arrow
    if "image" not in schema.names:
        raise UserError(f"{place}: no column 'image'; it has {', '.join(schema.names)}")
    kind = schema.field("image").type
    if not pa_types().is_binary(kind):
        check_type(place, "image", kind)
    for column in _LABELS:
        if column in schema.names:
            check_type(place, column, schema.field(column).type)
    return found


def parquet_samples(files: ShardFiles, shard: ShardFile) -> list[tuple[int, int, list[float] | int]]:
    """(row, 0, emotion) of every row, from the columns ``votes`` and ``fer2013_label`` where they are."""
    with _open(files, shard.name) as table:
        names = [name for name in _LABELS if name in table.schema_arrow.names]
        samples: list[tuple[int, int, list[float] | int]] = []
        place = f"{files.place}/{shard.name}"
        if not 0 <= table.metadata.num_rows <= shard.size:
            raise UserError(f"{place}: {table.metadata.num_rows} rows in {shard.size} bytes cannot be; copy it anew")
        with parquet_errors(place):
            for batch in table.iter_batches(batch_size=4096, columns=names, use_threads=False) if names else ():
                for row in _emotions(batch, place, len(samples)).tolist():
                    samples.append((len(samples), 0, row if any(row) else -1))
        return samples or [(row, 0, -1) for row in range(table.metadata.num_rows)]


def _emotions(batch: Any, place: str, first: int) -> np.ndarray:
    """(N, 7) distributions of a batch of rows, by the rules of :meth:`encoder.data.face_set.FaceSet.distributions`."""
    count, names = batch.num_rows, batch.schema.names
    known = batch.column("fer2013_label").to_pylist() if "fer2013_label" in names else [None] * count
    labels = np.array([-1 if label is None or not 0 <= label < NUM_EMOTIONS else label for label in known], np.int8)
    votes = np.zeros((count, 10), np.int16)
    if "votes" in names:
        for row, given in enumerate(batch.column("votes").to_pylist()):
            if given is None:
                continue
            if not are_votes(given):
                raise UserError(f"{place}: row {first + row}: {votes_wanted(given)}; mend the row")
            votes[row] = given
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
        """The bytes of the picture in a row; empty where there is none. Raises UserError: the file is damaged."""
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
            place = f"{self._files.place}/{name}"
            with parquet_errors(place):
                column = table.read_row_group(group, columns=["image"], use_threads=False).column("image").combine_chunks()
                found = column.field("bytes").to_pylist() if hasattr(column, "field") else column.to_pylist()
            if len(found) != int(starts[group + 1] - starts[group]):
                raise UserError(f"{place}: group {group} has {len(found)} rows, not as many as it says; copy it anew")
            self._groups[key] = found
        self._groups.move_to_end(key)
        return self._groups[key][row - int(starts[group])] or b""
