"""Faces in Parquet: one file per split, an ``image`` column of ``{bytes, path}`` and the labels beside it.

The layout is the one Hugging Face ``datasets`` reads as an image column::

    row            int32        row in the original fer2013.csv (null or absent: another data set)
    fer2013_label  int8         0 angry ... 6 neutral (null: unknown)
    votes          10 x int8    FER+ votes in the column order of fer2013new.csv (null or absent: none)
    image          struct       {bytes: binary, path: string}

The ``path`` names the face; it is never opened.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from tqdm import tqdm

from configs.cli import UserError
from configs.wording import one_line
from encoder.data.face_set import FaceCollector, FaceSet, OnError, Split
from encoder.data.ferplus import NUM_VOTE_COLUMNS
from encoder.pictures.face_images import png_bytes
from engine.storage.atomic import draft, make_folder

_BATCH_ROWS = 512
_FER_NAME = re.compile(r"fer([0-9]{7})")


def read_rows(
    path: Path,
    wanted: Sequence[str],
    required: Sequence[str],
    *,
    checked: Sequence[str] | None = None,
    progress: bool = True,
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Rows of a Parquet file, a batch at a time, as ``(row number from 0, {column: value})``.

    ``wanted`` columns that the file lacks are absent from the dictionaries.

    Args:
        checked: columns whose type must be that of the layout above; None: all.
        progress: show a bar.

    Raises UserError: not a Parquet file, damaged, a ``required`` column is missing or a column has another type.
    """
    with _opened(path) as table:
        schema = table.schema_arrow
        for name in required:
            if name not in schema.names:
                raise UserError(f"{path}: no column {name!r}; it has {', '.join(sorted(schema.names))}")
        columns = [name for name in wanted if name in schema.names]
        for name in columns if checked is None else checked:
            check_type(path, name, schema.field(name).type)
        rows = table.metadata.num_rows
        shown = None if progress else True
        with tqdm(total=rows, desc=f"reading {path.name}", unit="face", delay=1, leave=False, disable=shown) as bar:
            start = 0
            for batch in table.iter_batches(batch_size=_BATCH_ROWS, columns=columns):
                yield from enumerate(batch.to_pylist(), start)
                start += batch.num_rows
                bar.update(batch.num_rows)


def count_rows(path: Path) -> int:
    """Rows of a Parquet file, from its footer. Raises UserError: not a Parquet file, or damaged."""
    with _opened(path) as table:
        return int(table.metadata.num_rows)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    import pyarrow.parquet as pq

    with parquet_errors(path), path.open("rb") as stream, pq.ParquetFile(stream) as table:
        yield table


@contextmanager
def parquet_errors(path: Path | str) -> Iterator[None]:
    """Turns what reading a damaged Parquet file raises into one line. Raises UserError."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError, ValueError, OverflowError, MemoryError) as error:
        # Those of Python: text that is no UTF-8, times that no calendar has, lengths that no memory has.
        raise UserError(f"{path}: cannot be read as Parquet ({one_line(error)}); write it again or copy it anew") from None


def pa_types() -> Any:
    """``pyarrow.types``, loaded when a Parquet file is."""
    import pyarrow.types

    return pyarrow.types


def check_type(path: Path | str, name: str, kind: Any) -> None:
    """Whether a column has the type that the layout above wants. Raises UserError: another one."""
    t = pa_types()
    if name in ("row", "fer2013_label"):
        fits, wording = t.is_integer(kind), "an integer"
    elif name == "votes":
        fits, wording = t.is_list(kind) or t.is_large_list(kind) or t.is_fixed_size_list(kind), "a list of integers"
        fits = fits and t.is_integer(kind.value_type)
    elif name == "image":
        fits, wording = t.is_struct(kind), "a struct of {bytes: binary, path: string}"
        fits = fits and kind.get_field_index("bytes") >= 0 and t.is_binary(kind.field("bytes").type)
    elif name == "yaw":
        fits, wording = t.is_floating(kind), "a number"
    elif name == "points":
        fits, wording = t.is_list(kind) or t.is_large_list(kind) or t.is_fixed_size_list(kind), "a list of numbers"
        fits = fits and t.is_floating(kind.value_type)
    else:
        fits, wording = t.is_string(kind) or t.is_large_string(kind) or t.is_null(kind), "a string"
    if not fits:
        raise UserError(f"{path}: column {name!r} must be {wording}, got {kind}")


def read_parquet_split(path: Path, *, on_error: OnError, size: int | None) -> FaceSet:
    """All faces of one Parquet file in the layout above.

    The set's source is ``fer2013`` where the rows of ``fer2013.csv`` are given, else the folder's name. Raises UserError:
    unreadable file, missing or mistyped columns, or a bad row while ``on_error`` is ``refuse``.
    """
    collector = FaceCollector(path.resolve().parent.name or "parquet", size=size, on_error=on_error)
    wanted = ("row", "fer2013_label", "votes", "image", "identity", "gender")
    for number, row in read_rows(path, wanted, required=("image", "fer2013_label")):
        image, original = row["image"] or {}, row.get("row")
        if original is not None:
            collector.source = "fer2013"
        named = image.get("path") if original is None else f"fer{original:07d}"
        collector.add(
            image.get("bytes"),
            named or f"{path.name}:{number}",
            place=f"{path} row {number}" + (f" ({named})" if named else ""),
            label=row["fer2013_label"],
            votes=row.get("votes"),
            identity=row.get("identity"),
            gender=row.get("gender"),
        )
    return collector.finish()


def new_split_files(folder: Path, splits: Iterable[Split]) -> dict[Split, Path]:
    """Where each split would be written. Raises UserError: one of the files exists already."""
    targets = {split: folder / f"{split}.parquet" for split in splits}
    for target in targets.values():
        if target.exists():
            raise UserError(f"{target}: exists already and is not overwritten; remove it or give another folder")
    return targets


def write_parquet_splits(folder: Path, splits: Mapping[Split, FaceSet]) -> list[Path]:
    """Write each split as ``<folder>/<split>.parquet`` in the layout above; all of them, or none.

    Raises UserError: the folder already holds one of the files, or cannot be written.
    """
    targets = new_split_files(folder, splits)
    make_folder(folder, "folder")
    with ExitStack() as drafts:
        for split, faces in splits.items():
            _write(drafts.enter_context(draft(targets[split])), faces, split)
    return list(targets.values())


def face_schema() -> Any:
    """The layout above as a ``pyarrow.Schema``."""
    import pyarrow as pa

    return pa.schema(
        [
            ("row", pa.int32()),
            ("fer2013_label", pa.int8()),
            ("votes", pa.list_(pa.int16(), NUM_VOTE_COLUMNS)),
            ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        ]
    )


def _write(stream: BinaryIO, faces: FaceSet, split: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = face_schema()
    bar = tqdm(total=len(faces), desc=f"writing {split}", unit="face", delay=1, leave=False, disable=None)
    with bar, pq.ParquetWriter(stream, schema, compression="zstd") as writer:
        for start in range(0, len(faces), _BATCH_ROWS):
            stop = min(start + _BATCH_ROWS, len(faces))
            rows = [face_row(faces, index, png_bytes(faces.images[index])) for index in range(start, stop)]
            writer.write_batch(pa.RecordBatch.from_pylist(rows, schema=schema))
            bar.update(stop - start)


def face_row(faces: FaceSet, index: int, image: bytes) -> dict[str, Any]:
    """What the set says of one face, in the layout above, with the bytes of ``image``."""
    name = faces.ids[index]
    original = _FER_NAME.fullmatch(name)
    label = int(faces.labels[index])
    counts = None if faces.vote_counts is None else faces.vote_counts[index]
    return {
        "row": int(original[1]) if original else None,
        "fer2013_label": None if label < 0 else label,
        "votes": None if counts is None or not counts.any() else counts.tolist(),
        "image": {"bytes": image, "path": f"{name}.png" if original else name},
    }
