"""A long reading in parts: what each part reads, decided once, whoever does it and however often it is begun again."""

from __future__ import annotations

import heapq
import tarfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from typing import Any

from configs.cli import UserError
from encoder.analysis.columns import KEY, Columns, kept_of_sample, kind_of
from encoder.analysis.inputs import Input
from encoder.analysis.shard_views import missing_columns, open_parquet, samples
from encoder.pictures.videos import VIDEO_ENDINGS
from engine.storage.stored_files import StoredFile

# Loose pictures in a part. A part is the work that a kill can cost.
FILES_A_PART = 1000
_REQUESTS = 16


@dataclass(frozen=True)
class Part:
    """What one file of the result is made from.

    Attributes:
        number: its place in the plan.
        inputs: a shard, a video, or some loose pictures.
        size: bytes that are read for it, as far as they are known.
        groups: of a Parquet file the first group of rows and the one behind the last; None: all.
    """

    number: int
    inputs: tuple[Input, ...]
    size: int
    groups: tuple[int, int] | None = None

    @property
    def name(self) -> str:
        """Its file in the result."""
        return f"part-{self.number:06d}.parquet"

    def as_record(self) -> dict[str, Any]:
        """As plain data, for :func:`part_from`."""
        groups = None if self.groups is None else [*self.groups]
        return {"inputs": [asdict(each) for each in self.inputs], "size": self.size, "groups": groups}


def part_from(number: int, record: dict[str, Any]) -> Part:
    """The part that :meth:`Part.as_record` described. Raises TypeError or KeyError: it did not."""
    groups = record["groups"]
    inputs = tuple(Input(**each) for each in record["inputs"])
    return Part(number, inputs, record["size"], None if groups is None else (groups[0], groups[1]))


def make_parts(inputs: Sequence[Input], part_bytes: int) -> list[Part]:
    """A part for each shard and video, one for up to 1,000 loose pictures in a row.

    Args:
        inputs: of known size.
        part_bytes: a Parquet file that is larger becomes several parts of about so many bytes, cut between groups of rows.

    Raises:
        UserError: a file cannot be read.
    """
    large = [each for each in inputs if each.form == "parquet" and (each.size or 0) > part_bytes]
    with ThreadPoolExecutor(_REQUESTS) as pool:
        cuts = dict(zip(large, pool.map(lambda each: _cuts(each.name, part_bytes), large), strict=True))
    parts: list[Part] = []
    for alone, some in groupby(inputs, key=_is_a_part):
        files = [*some]
        step = 1 if alone else FILES_A_PART
        for lot in (tuple(files[at : at + step]) for at in range(0, len(files), step)):
            if cuts.get(lot[0]):
                parts += [Part(len(parts) + place, lot, *cut) for place, cut in enumerate(cuts[lot[0]])]
            else:
                parts.append(Part(len(parts), lot, sum(each.size or 0 for each in lot)))
    return parts


def _is_a_part(given: Input) -> bool:
    return given.form != "file" or given.name.lower().endswith(VIDEO_ENDINGS)


def _cuts(name: str, part_bytes: int) -> list[tuple[int, tuple[int, int]]]:
    """Ranges of groups of rows of about so many bytes, and their bytes; none for a damaged file, which its one part will say."""
    import pyarrow as pa

    with StoredFile(name) as stream:
        try:
            metadata = open_parquet(stream).metadata
        except (pa.ArrowException, OSError):
            return []
    ranges, first, held = [], 0, 0
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        size = sum(group.column(column).total_compressed_size for column in range(group.num_columns))
        if held and held + size > part_bytes:
            ranges.append((held, (first, number)))
            first, held = number, 0
        held += size
    return [*ranges, (held, (first, metadata.num_row_groups))]


def deal(parts: Sequence[Part], workers: int) -> list[list[Part]]:
    """The parts of each of several workers, about as many bytes for each: the largest first, to who has least."""
    shares: list[list[Part]] = [[] for _ in range(workers)]
    loads = [(0, 0, worker) for worker in range(workers)]
    for part in sorted(parts, key=lambda part: (-part.size, part.number)):
        load, count, worker = heapq.heappop(loads)
        shares[worker].append(part)
        heapq.heappush(loads, (load + part.size, count + 1, worker))
    return [sorted(share, key=lambda part: part.number) for share in shares]


def checked_columns(inputs: Sequence[Input], columns: Columns) -> Columns:
    """The columns with the types in which they are kept, once the first shard of each form was asked whether it has them.

    Numbers keep their type where all shards are Parquet; what tars have is text.

    Raises:
        UserError: it has not, or columns are to be kept and nothing has columns.
    """
    firsts = {form: next((each for each in inputs if each.form == form), None) for form in ("parquet", "tar")}
    parquet, tar = firsts["parquet"], firsts["tar"]
    if columns.keep and parquet is None and tar is None:
        raise UserError("--keep: only Parquet files and tars have something to keep beside a picture")
    kinds: dict[str, str] = {}
    if parquet is not None:
        schema = _schema(parquet.name)
        problem = None if schema is None else missing_columns(schema, columns)
        if problem is not None:
            raise UserError(f"{parquet.name}: {problem}; choose with --image-column and --keep")
        if schema is not None and tar is None:
            kinds = {target: kind_of(schema.field(source).type) for source, target in columns.keep.items()}
    if tar is not None and columns.keep:
        missing = _missing_in_tar(tar.name, columns)
        if missing:
            raise UserError(f"{tar.name}: its first sample has no {missing[0]}, as a member or in its json; see --keep")
    return replace(columns, kinds=kinds)


def _schema(name: str) -> Any:
    """The Arrow schema of a Parquet file; None where it is damaged, which its part has to say."""
    import pyarrow as pa

    with StoredFile(name) as stream:
        try:
            return open_parquet(stream).schema_arrow
        except (pa.ArrowException, OSError):
            return None


def _missing_in_tar(name: str, columns: Columns) -> list[str]:
    with StoredFile(name) as stream:
        try:
            with tarfile.open(fileobj=stream, mode="r:") as tar:  # type: ignore[call-overload]
                first: Iterator[Any] = samples(tar, columns)
                key, _, notes = next(first)
        except (tarfile.TarError, EOFError, StopIteration):
            return []
    found = kept_of_sample(key, notes, columns.keep)
    return [source for source, target in columns.keep.items() if source != KEY and found[target] is None]
