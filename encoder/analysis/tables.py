"""The result of an analysis as rows: one a face, or one that says why a picture has none."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, Protocol

from configs.cli import UserError
from encoder.analysis.rows import FaceRow, PlainRow
from engine.storage.atomic import draft, growing, make_folder

ENDINGS = (".csv", ".json", ".jsonl", ".parquet")

_ROWS_AT_ONCE = 4096
_BLANK = FaceRow("")
# Of a formula, in some spreadsheets in their wide forms, too.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


class TableWriter(Protocol):
    """Takes rows one at a time; the file appears, complete, at :meth:`close`."""

    def write(self, row: FaceRow | PlainRow, kept: Mapping[str, Any] | None = None) -> None:
        """Add a row, with what is kept of its picture."""
        ...

    def close(self) -> None:
        """Put the file in its place; called again, nothing happens."""
        ...


def create_table(
    path: str | Path,
    *,
    landmarks: bool = False,
    units: Sequence[str] = (),
    person: bool = False,
    kept: Mapping[str, str] | None = None,
    as_is: bool = False,
    blank: FaceRow | PlainRow = _BLANK,
) -> TableWriter:
    """A table that is written as rows come, so that its length is not bounded by memory.

    The ending decides: ``.csv``, ``.json`` (a list of objects), ``.jsonl`` (an object a line) or ``.parquet``. Empty
    cells are empty in CSV and null elsewhere. Bytes of a file's name that are no UTF-8 are written as escapes. Until it is
    complete a table is called ``NAME.partial``, and has every row at once; one of Parquet, which cannot be read without its
    end, is hidden.

    Args:
        landmarks, units, person: add columns: see :meth:`FaceRow.as_record`.
        kept: names of further columns, with their Arrow types; they stand behind the source.
        as_is: in CSV, leave text as it is that a spreadsheet would take for a formula. Otherwise an apostrophe stands before
            it (OWASP, "CSV Injection"); numbers stay as they are.
        blank: an empty row, which says what the columns are; another than the default for rows that are no faces.

    Raises:
        UserError: another ending, or the file cannot be made.
    """
    path = Path(path)
    kind = path.suffix.lower()
    if kind not in ENDINGS:
        raise UserError(f"{path}: choose an ending among {', '.join(ENDINGS)}, or end it with / for a folder of parts")
    further = {"landmarks": landmarks, "units": tuple(units), "person": person}
    if kind == ".parquet":
        return _ParquetTable(_Draft(path), further, kept or {}, blank)
    return _TextTable(path, kind, further, kept or {}, as_is, blank)


def table_in_memory(
    *, landmarks: bool = False, units: Sequence[str] = (), kept: Mapping[str, str] | None = None
) -> tuple[TableWriter, io.BytesIO]:
    """A Parquet table as of :func:`create_table`, and where its bytes are once it is closed."""
    memory = _Memory()
    return _ParquetTable(memory, {"landmarks": landmarks, "units": tuple(units)}, kept or {}), memory.file


def table_schema(
    *,
    landmarks: bool = False,
    units: Sequence[str] = (),
    person: bool = False,
    kept: Mapping[str, str] | None = None,
    blank: FaceRow | PlainRow = _BLANK,
) -> Any:
    """The ``pyarrow.Schema`` of the Parquet tables."""
    import pyarrow as pa

    whole, real, text = pa.int32(), pa.float64(), pa.string()
    kinds = {"source": text, "frame": pa.int64(), "face": whole, "emotion": text, "gender": text, "identity": text}
    kinds |= dict.fromkeys(("x", "y", "width", "height"), whole) | {"whole_picture": pa.bool_(), "problem": text}
    kinds |= dict.fromkeys(("person", "second", "frames"), whole)
    kinds["landmarks"] = pa.list_(pa.list_(pa.float32()))
    kinds |= {name: pa.type_for_alias(kind) for name, kind in (kept or {}).items()}
    further = {"landmarks": landmarks, "units": tuple(units), "person": person}
    return pa.schema([(name, kinds.get(name, real)) for name in _record(blank, further, kept or {}, None)])


def _record(
    row: FaceRow | PlainRow, further: Mapping[str, Any], names: Iterable[str], kept: Mapping[str, Any] | None
) -> dict[str, Any]:
    record = row.as_record(**further)
    return {"source": record["source"]} | {name: (kept or {}).get(name) for name in names} | record


class _Memory:
    def __init__(self) -> None:
        self.file = io.BytesIO()

    def give_up(self, error: Exception) -> NoReturn:
        raise error

    def finish(self) -> None:
        """The bytes are where they are."""


class _Draft:
    """A file that takes its name at the end; what comes before an error or a kill stays only with ``growing``."""

    def __init__(self, path: Path, write: Callable[[Path], AbstractContextManager[BinaryIO]] = draft) -> None:
        make_folder(path.parent)
        self._end = ExitStack()
        self.file = self._end.enter_context(write(path))

    def give_up(self, error: Exception) -> NoReturn:
        self._end.__exit__(type(error), error, error.__traceback__)
        raise error

    def finish(self) -> None:
        self._end.close()


class _TextTable:
    def __init__(
        self, path: Path, kind: str, further: Mapping[str, Any], kept: Iterable[str], as_is: bool, blank: FaceRow | PlainRow
    ) -> None:
        self._draft = _Draft(path, growing)
        self._kind, self._further, self._kept, self._rows, self._closed = kind, further, [*kept], 0, False
        self._as_is = as_is
        if kind == ".csv":
            self._put(_csv_line(_record(blank, further, self._kept, None), as_is))

    def write(self, row: FaceRow | PlainRow, kept: Mapping[str, Any] | None = None) -> None:
        record = _record(row, self._further, self._kept, kept)
        if self._kind == ".csv":
            self._put(_csv_line(record.values(), self._as_is))
        elif self._kind == ".jsonl":
            self._put(json.dumps(record, ensure_ascii=False) + "\n")
        else:
            self._put((",\n" if self._rows else "[\n") + json.dumps(record, ensure_ascii=False))
        self._rows += 1

    def close(self) -> None:
        if self._closed:
            return
        if self._kind == ".json":
            self._put("\n]\n" if self._rows else "[]\n")
        self._closed = True
        self._draft.finish()

    def _put(self, text: str) -> None:
        try:
            # A file name may hold bytes that are no UTF-8; they are written as escapes.
            self._draft.file.write(_utf8(text).encode())
            self._draft.file.flush()
        except OSError as error:
            self._closed = True
            self._draft.give_up(error)


def _csv_line(values: Iterable[Any], as_is: bool) -> str:
    line = io.StringIO()
    cells = [json.dumps(value) if isinstance(value, list) else value for value in values]
    # With this end of line the writer quotes both of its signs in a cell, so that none begins a row of its own.
    csv.writer(line, lineterminator="\r\n").writerow(cells if as_is else [_harmless(cell) for cell in cells])
    return line.getvalue().removesuffix("\r\n") + "\n"


def _harmless(cell: Any) -> Any:
    """A cell that no spreadsheet computes."""
    if not isinstance(cell, str) or not cell.startswith(_FORMULA_STARTS):
        return cell
    try:
        float(cell)
    except ValueError:
        return f"'{cell}"
    return cell


def _utf8(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()


class _ParquetTable:
    def __init__(
        self,
        target: _Draft | _Memory,
        further: Mapping[str, Any],
        kept: Mapping[str, str],
        blank: FaceRow | PlainRow = _BLANK,
    ) -> None:
        import pyarrow.parquet as pq

        self._schema, self._kept = table_schema(**further, kept=kept, blank=blank), [*kept]
        self._draft = target
        self._writer = pq.ParquetWriter(self._draft.file, self._schema, compression="zstd")
        self._further, self._waiting, self._closed = further, list[dict[str, Any]](), False

    def write(self, row: FaceRow | PlainRow, kept: Mapping[str, Any] | None = None) -> None:
        record = _record(row, self._further, self._kept, kept)
        self._waiting.append({name: _utf8(value) if isinstance(value, str) else value for name, value in record.items()})
        if len(self._waiting) >= _ROWS_AT_ONCE:
            self._flush()

    def close(self) -> None:
        if self._closed:
            return
        self._flush()
        self._closed = True
        try:
            self._writer.close()
        except OSError as error:
            self._draft.give_up(error)
        self._draft.finish()

    def _flush(self) -> None:
        import pyarrow as pa

        try:
            self._writer.write_table(pa.Table.from_pylist(self._waiting, schema=self._schema))
        except (OSError, pa.ArrowException) as error:
            self._closed = True
            self._draft.give_up(error)
        self._waiting.clear()
