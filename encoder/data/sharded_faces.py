"""Faces that stay in their shards: as many as there is storage for, read by number, one batch at a time."""

from __future__ import annotations

from collections import OrderedDict
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from configs.cli import UserError
from encoder.data.shard_files import ShardFile, ShardFiles
from encoder.data.shard_index import SHARD_ENDINGS, ShardTable, build_table
from encoder.data.shard_parquet import ParquetRows
from encoder.pictures.face_images import BadImage, decode_face

# Without shards of their own, every so many-th face is for validation, and at most this many.
VALID_EVERY, VALID_MOST = 20, 2048
_TRIES = 100
# Blocks of neighbouring faces kept in memory: two windows of the default shuffle by blocks.
_KEPT_BLOCKS = 128


class ShardedFaces:
    """Faces of one split, decoded to ``size`` pixels when they are asked for.

    Item i is the same face in every process and every run, as long as the shards stay. What is kept in memory does not
    grow with their number.
    """

    def __init__(
        self,
        table: ShardTable,
        size: int,
        *,
        stride: int = 0,
        part: Literal["rest", "every"] = "rest",
        skip: bool = False,
        block: int = 0,
    ) -> None:
        """``stride`` n > 0 takes every n-th face of the table (``every``), or the others (``rest``). ``block`` > 0: so many
        neighbouring faces are fetched at once and kept for the next batches."""
        self._table, self._size, self._stride, self._part, self._skip = table, size, stride, part, skip
        self._parquet = ParquetRows(table.files)
        self._block = block
        self._blocks: OrderedDict[tuple[int, int], tuple[int, bytes]] = OrderedDict()
        count = len(self._rows)
        held = -(-count // stride) if stride else 0
        self._count = held if part == "every" else count - held

    def __getstate__(self) -> dict[str, Any]:
        kept = {name: value for name, value in self.__dict__.items() if name != "_rows"}
        return {**kept, "_blocks": OrderedDict()}

    def __len__(self) -> int:
        return self._count

    @property
    def digest(self) -> str:
        """Changes with the shards, the choice of faces and their size."""
        return f"{self._table.digest} {self._stride} {self._part} {self._size}"

    @property
    def remote(self) -> bool:
        """Whether reading goes through a network."""
        return self._table.files.remote

    @cached_property
    def _rows(self) -> NDArray[Any]:
        return self._table.rows()

    def _table_places(self, index: np.ndarray) -> NDArray[np.int64]:
        places = np.asarray(index, np.int64)
        if not self._stride:
            return places
        return places * self._stride if self._part == "every" else places + places // (self._stride - 1) + 1

    def emotions(self, index: np.ndarray) -> NDArray[np.float32]:
        """(B, 7) distributions by people; rows of zeros where nothing is known."""
        return np.asarray(self._rows["emotion"][self._table_places(index)], np.float32)

    def read(self, index: np.ndarray) -> NDArray[np.uint8]:
        """(B, size, size) uint8 grey faces.

        Raises UserError: a shard that cannot be read, or a picture that cannot be used (unless such are skipped: then the next
        one in the shards takes its place, the same in every run).
        """
        places = self._table_places(index)
        faces = np.empty((len(places), self._size, self._size), np.uint8)
        for number, data in enumerate(self._bytes(places)):
            faces[number] = self._decode(int(places[number]), data)
        return faces

    def _decode(self, place: int, data: bytes) -> NDArray[np.uint8]:
        for _ in range(_TRIES):
            try:
                return decode_face(data, self._size)
            except BadImage as error:
                if not self._skip:
                    row = self._rows[place]
                    raise UserError(
                        f"{self._table.files.place}/{self._table.shards[row['shard']].name}: the picture at {row['offset']} "
                        f"(number {place}): {error}; mend it, or skip such with faces.on_error=skip"
                    ) from None
                place = (place + 1) % len(self._rows)
                data = self._bytes(np.array([place]))[0]
        raise UserError(f"{self._table.files.place}: {_TRIES} pictures in a row, up to number {place}, cannot be used")

    def _bytes(self, places: NDArray[np.int64]) -> list[bytes]:
        rows = self._rows[places]
        names = [self._table.shards[shard].name for shard in rows["shard"]]
        found: list[bytes] = [b""] * len(rows)
        in_tars = [number for number, name in enumerate(names) if name.endswith(".tar")]
        if self._block:
            pictures = self._from_blocks(places[in_tars], rows[in_tars])
        else:
            ranges = [(names[number], int(rows["offset"][number]), int(rows["length"][number])) for number in in_tars]
            pictures = self._table.files.read(ranges)
        for number, data in zip(in_tars, pictures, strict=True):
            found[number] = data
        # Rows in order, so that a group of rows is read once for all that stand in it.
        for number in sorted(set(range(len(rows))) - set(in_tars), key=lambda n: (names[n], int(rows["offset"][n]))):
            found[number] = self._parquet.read(names[number], int(rows["offset"][number]))
        return found

    def _from_blocks(self, places: NDArray[np.int64], rows: NDArray[Any]) -> list[bytes]:
        """Pictures in tars, out of blocks that are fetched whole: one request for all faces of a block in a shard."""
        keys = [(int(shard), int(place) // self._block) for shard, place in zip(rows["shard"], places, strict=True)]
        missing = sorted(set(keys) - set(self._blocks))
        spans = []
        for shard, number in missing:
            near = self._rows[number * self._block : (number + 1) * self._block]
            near = near[near["shard"] == shard]
            start = int(near["offset"].min())
            spans.append((self._table.shards[shard].name, start, int((near["offset"] + near["length"]).max()) - start))
        for key, span, data in zip(missing, spans, self._table.files.read(spans), strict=True):
            self._blocks[key] = (span[1], data)
        found = []
        for key, row in zip(keys, rows, strict=True):
            self._blocks.move_to_end(key)
            start, data = self._blocks[key]
            place = int(row["offset"]) - start
            found.append(data[place : place + int(row["length"])])
        while len(self._blocks) > _KEPT_BLOCKS:
            self._blocks.popitem(last=False)
        return found


def open_shards(
    place: str, split: Literal["train", "valid"], *, size: int, cache: Path, skip: bool = False, block: int = 0
) -> ShardedFaces:
    """The faces of ``split`` below ``place``, a folder or URL that holds tar or Parquet shards.

    A split's shards stand in a folder of its name or begin with it (``train/0001.tar``, ``train-0001.tar``,
    ``valid.parquet``). Where none is marked so, every 20th face (at most about 2,048 in all) is for validation. Raises
    UserError: no shards, a mixture of both forms, or a split that is missing while the other is there.
    """
    files = ShardFiles(place)
    found = files.find(SHARD_ENDINGS)
    if not found:
        raise UserError(f"{place}: holds no shards ({' or '.join(SHARD_ENDINGS)})")
    marked = {name: [shard for shard in found if _is_of(shard, name)] for name in ("train", "valid")}
    if any(marked.values()):
        if not marked[split]:
            raise UserError(f"{place}: holds shards of another split, but none of {split}")
        return ShardedFaces(build_table(files, marked[split], cache), size, skip=skip, block=block)
    table = build_table(files, [shard for shard in found if not _is_of(shard, "test")], cache)
    count = len(table.rows())
    if count < 2:
        raise UserError(f"{place}: holds a single face; training needs some to learn from and some to judge by")
    stride = min(count, max(VALID_EVERY, -(-count // VALID_MOST)))
    return ShardedFaces(table, size, stride=stride, part="rest" if split == "train" else "every", skip=skip, block=block)


def _is_of(shard: ShardFile, split: str) -> bool:
    *folders, base = shard.name.split("/")
    return split in folders or base.startswith((f"{split}-", f"{split}_", f"{split}."))
