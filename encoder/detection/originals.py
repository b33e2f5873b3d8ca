"""The pictures of a data set with all that is said of them, row by row, so that a changed copy loses nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from configs.cli import UserError
from configs.wording import printable
from encoder.data.face_parquet import face_row, face_schema, read_rows
from encoder.data.face_set import SPLITS, FaceSet, OnError
from encoder.data.load import load_faces
from encoder.pictures.face_images import BadImage
from encoder.pictures.pictures import decode_picture

# faces128 is one file; it is divided by person when it is loaded.
_WHOLE = "faces"


class Original(NamedTuple):
    """One picture: ``pixels`` (H, W, 3) uint8 RGB; ``record``: its columns, ``image`` with the picture's name but no bytes."""

    record: dict[str, Any]
    pixels: NDArray[np.uint8]


@dataclass
class Split:
    """The originals of one split.

    Attributes:
        name: of its file, without the ending. count: rows, broken ones included.
        schema: ``pyarrow.Schema`` of the records.
        problems: one line for each broken row that was skipped, once :meth:`read` has come to it.
    """

    name: str
    count: int
    schema: Any
    source: Path
    faces: FaceSet | None
    on_error: OnError
    problems: list[str] = field(default_factory=list)

    def read(self) -> Iterator[Original]:
        """Every readable picture in turn. Raises UserError: a broken one is to be refused."""
        for place, record, data in self._rows():
            try:
                pixels = decode_picture(data).pixels if isinstance(data, bytes) else data
            except BadImage as error:
                line = printable(f"{place}: {error}")
                if self.on_error == "refuse":
                    raise UserError(f"{line}; mend or remove it, or skip such data with --on-error skip") from None
                self.problems.append(line)
                continue
            yield Original(record, pixels)

    def _rows(self) -> Iterator[tuple[str, dict[str, Any], bytes | NDArray[np.uint8]]]:
        if self.faces is None:
            names = self.schema.names
            for number, record in read_rows(self.source, names, ("image",), checked=("image",), progress=False):
                image = record["image"] or {}
                record["image"] = {"bytes": None, "path": image.get("path")}
                yield f"{self.source} row {number}", record, image.get("bytes") or b""
            return
        for index, name in enumerate(self.faces.ids):
            record = face_row(self.faces, index, b"")
            file = self.source / name
            if self.source.is_dir() and file.is_file():
                # The loader has checked that it is a regular file inside the folder; here it is wanted as large as it is.
                yield str(file), record, file.read_bytes()
            else:
                yield name, record, np.repeat(self.faces.images[index][..., None], 3, axis=2)


def find_originals(path: Path, *, on_error: OnError) -> list[Split]:
    """The splits of a data set: Parquet with an ``image`` column (``train``, ``valid``, ``test`` or ``faces``), or any other
    form that :func:`encoder.data.load.load_faces` takes.

    Raises:
        UserError: nothing readable at ``path``, or broken data while ``on_error`` is ``refuse``.
    """
    files = [path / f"{name}.parquet" for name in (*SPLITS, _WHOLE)] if path.is_dir() else []
    found = [_parquet_split(file, on_error) for file in files if file.is_file()]
    if found:
        return found
    splits = []
    for split in SPLITS:
        faces = load_faces(path, split, on_error=on_error)
        splits.append(Split(split, len(faces), face_schema(), path, faces, on_error, list(faces.problems)))
    return splits


def _parquet_split(file: Path, on_error: OnError) -> Split:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with file.open("rb") as stream, pq.ParquetFile(stream) as table:
            schema, count = table.schema_arrow.remove_metadata(), table.metadata.num_rows
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{file}: cannot be read as Parquet ({str(error).splitlines()[0]})") from None
    return Split(file.stem, count, schema, file, None, on_error)
