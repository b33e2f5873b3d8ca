"""The result of an analysis as rows: one a face, or one that says why a picture has none."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NoReturn, Protocol

from configs.cli import UserError
from encoder.analysis.rows import FaceRow
from engine.storage.atomic import draft, make_folder

ENDINGS = (".csv", ".json", ".jsonl", ".parquet")

_ROWS_AT_ONCE = 4096


class TableWriter(Protocol):
    """Takes rows one at a time; the file appears, complete, at :meth:`close`."""

    def write(self, row: FaceRow) -> None:
        """Add a row."""
        ...

    def close(self) -> None:
        """Put the file in its place; called again, nothing happens."""
        ...


def create_table(path: str | Path, *, landmarks: bool = False, units: Sequence[str] = ()) -> TableWriter:
    """A table that is written as rows come, so that its length is not bounded by memory.

    The ending decides: ``.csv``, ``.json`` (a list of objects), ``.jsonl`` (an object a line) or ``.parquet``. Empty
    cells are empty in CSV and null elsewhere. ``landmarks`` and ``units`` add columns: see :meth:`FaceRow.as_record`.

    Raises:
        UserError: another ending, or the file cannot be made.
    """
    path = Path(path)
    kind = path.suffix.lower()
    if kind not in ENDINGS:
        raise UserError(f"{path}: choose an ending among {', '.join(ENDINGS)}")
    further = {"landmarks": landmarks, "units": tuple(units)}
    return _ParquetTable(path, further) if kind == ".parquet" else _TextTable(path, kind, further)


class _Draft:
    """A file that takes its name at the end, or goes away with the first write that fails."""

    def __init__(self, path: Path) -> None:
        make_folder(path.parent)
        self._end = ExitStack()
        self.file = self._end.enter_context(draft(path))

    def give_up(self, error: OSError) -> NoReturn:
        self._end.__exit__(type(error), error, error.__traceback__)
        raise error

    def finish(self) -> None:
        self._end.close()


class _TextTable:
    def __init__(self, path: Path, kind: str, further: dict[str, Any]) -> None:
        self._draft = _Draft(path)
        self._kind, self._further, self._rows, self._closed = kind, further, 0, False
        if kind == ".csv":
            self._put(_csv_line(FaceRow("").as_record(**further)))

    def write(self, row: FaceRow) -> None:
        record = row.as_record(**self._further)
        if self._kind == ".csv":
            self._put(_csv_line(record.values()))
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
            self._draft.file.write(text.encode(errors="backslashreplace"))
        except OSError as error:
            self._closed = True
            self._draft.give_up(error)


def _csv_line(values: Iterable[Any]) -> str:
    line = io.StringIO()
    cells = [json.dumps(value) if isinstance(value, list) else value for value in values]
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue()


class _ParquetTable:
    def __init__(self, path: Path, further: dict[str, Any]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        whole, real, text = pa.int32(), pa.float64(), pa.string()
        kinds = {"source": text, "frame": pa.int64(), "face": whole, "emotion": text, "gender": text, "identity": text}
        kinds |= dict.fromkeys(("x", "y", "width", "height"), whole) | {"whole_picture": pa.bool_(), "problem": text}
        kinds["landmarks"] = pa.list_(pa.list_(pa.float32()))
        names = FaceRow("").as_record(**further)
        self._schema = pa.schema([(name, kinds.get(name, real)) for name in names])
        self._draft = _Draft(path)
        self._writer = pq.ParquetWriter(self._draft.file, self._schema, compression="zstd")
        self._further, self._waiting, self._closed = further, list[dict[str, Any]](), False

    def write(self, row: FaceRow) -> None:
        self._waiting.append(row.as_record(**self._further))
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
        except OSError as error:
            self._closed = True
            self._draft.give_up(error)
        self._waiting.clear()
