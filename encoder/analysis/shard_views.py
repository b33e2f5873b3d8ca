"""The pictures of shards as views, one after the other: Parquet by groups of rows, tars member by member.

Of a tar one sample is held in memory, of a Parquet file a group of rows, or of a large one a page of its pictures (which pyarrow
makes of up to 1,024 rows).
What is damaged gives a view that says so; storage that fails is an error, since what it kept back may be there the next time.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

from configs.cli import UserError
from configs.wording import one_line
from encoder.analysis.columns import Columns, kept_of_sample
from encoder.analysis.inputs import Input
from encoder.pictures import sources
from encoder.pictures.pictures import MAX_BYTES
from encoder.pictures.sources import PICTURE_ENDINGS, View, view_bytes
from engine.storage.stored_files import StoredFile, is_url, locate

# Pictures decoded from one column at once, and loose pictures fetched from storage at once.
_ROWS_AT_ONCE, _FILES_AT_ONCE = 4, 16
_BUFFER = 2**20
# Columns of a group of rows up to here are read at once.
_MOST_AT_ONCE = 16 * 2**20
_MAX_NOTE_BYTES = 2**20


def view_inputs(
    inputs: Iterable[Input],
    columns: Columns,
    *,
    groups: range | None = None,
    every: int = 1,
    rate: float | None = None,
) -> Iterator[View]:
    """The pictures of all inputs in turn.

    Args:
        columns: what is read of shards.
        groups: of Parquet files only these groups of rows.
        every, rate: which frames of a video, see :class:`encoder.pictures.videos.Video`.

    Raises:
        UserError: storage fails.
    """
    for (form, remote), alike in groupby(inputs, key=lambda each: (each.form, is_url(each.name))):
        if form == "file" and not remote:
            yield from sources.view_files([each.name for each in alike], every=every, rate=rate)
        elif form == "file":
            yield from _view_stored([each.name for each in alike])
        elif form == "tar":
            for each in alike:
                yield from view_tar(each.name, columns)
        else:
            for each in alike:
                yield from view_parquet(each.name, columns, groups)


def _view_stored(names: list[str]) -> Iterator[View]:
    """Loose pictures in storage, several requests at a time."""
    filesystem, _ = locate(names[0])
    for start in range(0, len(names), _FILES_AT_ONCE):
        some = names[start : start + _FILES_AT_ONCE]
        paths = [locate(name)[1] for name in some]
        # Not cat(): it takes brackets in a name for a pattern.
        contents = filesystem.cat_ranges(paths, None, None, on_error="return")
        for name, content in zip(some, contents, strict=True):
            if isinstance(content, FileNotFoundError):
                yield View(name, problem="no such file")
            elif isinstance(content, Exception):
                raise UserError(f"{name}: cannot be read ({' '.join(str(content).split()) or type(content).__name__})")
            else:
                yield view_bytes(name, content)


def open_parquet(stream: StoredFile) -> Any:
    """A Parquet file of which large groups of rows are read in pieces. Raises OSError or ArrowException: damaged."""
    import pyarrow.parquet as pq

    size = stream.seek(0, os.SEEK_END)
    table = pq.ParquetFile(stream, pre_buffer=False)
    groups = (table.metadata.row_group(number) for number in range(table.metadata.num_row_groups))
    largest = max(
        (group.column(place).total_compressed_size for group in groups for place in range(group.num_columns)), default=0
    )
    if largest > size:
        raise OSError(f"a column of {largest} bytes in a file of {size}")
    # In pieces, pyarrow makes room for as much as a page says that it has, up to 2 GiB, before it looks whether that is there.
    return table if largest <= _MOST_AT_ONCE else pq.ParquetFile(stream, buffer_size=_BUFFER, pre_buffer=False)


def missing_columns(schema: Any, columns: Columns) -> str | None:
    """Why a Parquet file of this Arrow schema cannot be read so, or None."""
    import pyarrow as pa

    for name in (columns.picture, *columns.keep):
        if name not in schema.names:
            return f"no column {name!r}; it has {', '.join(schema.names)}"
    kind = schema.field(columns.picture).type
    if pa.types.is_struct(kind):
        kind = kind.field("bytes").type if kind.get_field_index("bytes") >= 0 else kind
    if not (pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)):
        return f"column {columns.picture!r} is {kind}; pictures are bytes, or a struct with bytes"
    for name in columns.keep:
        if pa.types.is_nested(schema.field(name).type):
            return f"column {name!r} is {schema.field(name).type}; only numbers, truth values and text are kept"
    return None


def view_parquet(name: str, columns: Columns, groups: range | None = None) -> Iterator[View]:
    """The pictures of a Parquet file; a source is ``NAME#ROW``, rows counted from 0 over the whole file."""
    import pyarrow as pa

    # Those of Python: text that is no UTF-8, times that no calendar has.
    damage = (pa.ArrowException, OSError, ValueError, OverflowError)
    with StoredFile(name) as stream:
        try:
            table = open_parquet(stream)
            problem = missing_columns(table.schema_arrow, columns)
        except damage as error:
            problem = f"cannot be read as Parquet ({one_line(error)})"
        if problem is not None:
            yield View(name, problem=problem)
            return
        sizes = [table.metadata.row_group(number).num_rows for number in range(table.metadata.num_row_groups)]
        for group in range(len(sizes)) if groups is None else groups:
            row = first = sum(sizes[:group])
            try:
                for batch in table.iter_batches(
                    _ROWS_AT_ONCE, row_groups=[group], columns=[columns.picture, *columns.keep], use_threads=False
                ):
                    for data, kept in _rows_of(batch, columns):
                        yield view_bytes(f"{name}#{row}", data, kept)
                        row += 1
            except damage as error:
                last = first + sizes[group] - 1
                yield View(f"{name}#{row}", problem=f"rows {row} to {last} cannot be read ({one_line(error)})")


def _rows_of(batch: Any, columns: Columns) -> Iterator[tuple[bytes | None, dict[str, Any] | None]]:
    import pyarrow as pa
    import pyarrow.compute as pc

    pictures = batch.column(columns.picture)
    if pa.types.is_struct(pictures.type):
        pictures = pc.struct_field(pictures, "bytes")
    kept = {
        target: batch.column(source).cast(pa.type_for_alias(columns.kind(target))).to_pylist()
        for source, target in columns.keep.items()
    }
    for place, data in enumerate(pictures):
        yield data.as_py(), {target: values[place] for target, values in kept.items()} if kept else None


def view_tar(name: str, columns: Columns) -> Iterator[View]:
    """The pictures of a tar in WebDataset's order; a source is ``NAME#MEMBER``."""
    pictures = 0
    with StoredFile(name) as stream:
        try:
            with tarfile.open(fileobj=stream, mode="r:") as tar:  # type: ignore[call-overload]
                for key, found, notes in samples(tar, columns):
                    kept = kept_of_sample(key, notes, columns.keep) if columns.keep else None
                    for member, data in found:
                        pictures += 1
                        if data is None:
                            yield View(f"{name}#{member}", problem=f"more than the {MAX_BYTES // 2**20} MiB allowed", kept=kept)
                        else:
                            yield view_bytes(f"{name}#{member}", data, kept)
                # tarfile takes a damaged header, and the place where a tar was cut off, for its end.
                stream.seek(tar.offset)
                if stream.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                    raise tarfile.ReadError("no header and no end where one must be")
                if not pictures:
                    yield View(name, problem=f"holds no picture ({', '.join(PICTURE_ENDINGS)})")
        except (tarfile.TarError, EOFError, ValueError, OverflowError, RecursionError) as error:
            # The last three: numbers, names and chains of headers that no tar has.
            what = f"damaged after {pictures} pictures" if pictures else "cannot be read as an uncompressed tar"
            yield View(name, problem=f"{what} ({one_line(error)}); copy it anew or unpack it")


Sample = tuple[str, list[tuple[str, bytes | None]], dict[str, bytes]]


def samples(tar: tarfile.TarFile, columns: Columns) -> Iterator[Sample]:
    """Each sample of a tar: its key, its pictures by member (None: too large to be read), its notes by ending.

    A sample is neighbouring members of one name up to the first dot. Raises TarError: damaged.
    """
    key: str | None = None
    pictures: list[tuple[str, bytes | None]] = []
    notes: dict[str, bytes] = {}
    wanted = {"json", *columns.keep} if columns.keep else set()
    try:
        while (member := tar.next()) is not None:
            # tarfile remembers every member, which for a tar of any length is too much.
            tar.members = []  # type: ignore[attr-defined]
            folder, _, base = member.name.rpartition("/")
            stem, _, ending = base.partition(".")
            if not member.isreg() or not stem:
                continue
            whole = f"{folder}/{stem}" if folder else stem
            if whole != key:
                if key is not None:
                    yield key, pictures, notes
                key, pictures, notes = whole, [], {}
            if base.lower().endswith(PICTURE_ENDINGS):
                pictures.append((member.name, _content(tar, member) if member.size <= MAX_BYTES else None))
            elif ending.lower() in wanted and member.size <= _MAX_NOTE_BYTES:
                notes[ending.lower()] = _content(tar, member)
    except tarfile.TarError:
        # What was read before the damage is good.
        if key is not None:
            yield key, pictures, notes
        raise
    if key is not None:
        yield key, pictures, notes


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    stream = tar.extractfile(member)
    return b"" if stream is None else stream.read()
