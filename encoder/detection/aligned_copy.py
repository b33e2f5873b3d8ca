"""An aligned copy of a data set: every face turned, scaled and shifted until its eyes lie where a convention wants them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from configs.cli import UserError
from encoder.config import CropConfig
from encoder.detection.align import crop_face, face_square
from encoder.detection.aligned_report import Tally
from encoder.detection.face import BatchDetector, DetectedFace
from encoder.detection.in_crops import find_in_crops
from encoder.detection.originals import Original, Split
from encoder.pictures.colour_crops import colour_crops
from encoder.pictures.face_images import png_bytes
from engine.storage.atomic import draft

_SEARCHED_TOGETHER = 16
_ROWS_AT_ONCE = 512
# Where a finished file keeps how it was made and what was counted, so that a second run goes on with the next one.
_NOTE = b"mimique.aligned"


@dataclass(frozen=True)
class Alignment:
    """What is made.

    Attributes:
        crop: where the eyes come to lie.
        size: side of the crops in pixels.
        colour: three channels are kept; else the crops are grey.
        found_only: pictures in which no face is found are left out; else they are kept as they were, only resized.
    """

    crop: CropConfig
    size: int
    colour: bool = False
    found_only: bool = False

    def described(self, split: Split) -> dict[str, Any]:
        """All that the content of a copy depends on, as plain values."""
        return {
            "eyes": [self.crop.eye_distance, self.crop.eye_height],
            "size": self.size,
            "colour": self.colour,
            "found_only": self.found_only,
            "source": "/".join(split.source.resolve().parts[-2:]),
            "rows": split.count,
        }

    def apply(self, picture: NDArray[np.uint8], face: DetectedFace | None) -> NDArray[np.uint8]:
        """(S, S) or (S, S, 3) crop of an (H, W, 3) picture; its central square where there is no face."""
        pixels = picture if self.colour else np.asarray(Image.fromarray(picture).convert("L"))
        if face is not None:
            return crop_face(pixels, face, self.size, self.crop)
        whole = colour_crops([pixels], (self.size, self.size))[0]
        return whole if self.colour else whole[..., 0]


def finished(path: Path, alignment: Alignment, split: Split) -> dict[str, Any] | None:
    """What was counted when ``path`` was made by an earlier run; None: there is no such file yet.

    Raises:
        UserError: the file there is something else, or was made in another way.
    """
    if not path.exists():
        return None
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        note = json.loads((pq.read_metadata(path).metadata or {}).get(_NOTE, b"{}"))
    except (pa.ArrowException, OSError, ValueError):
        note = {}
    if note.get("alignment") != alignment.described(split):
        raise UserError(f"{path}: exists and was not made in this way; remove it or give another folder")
    return dict(note["facts"])


def write_aligned(split: Split, alignment: Alignment, detector: BatchDetector, path: Path) -> Tally:
    """Write the aligned copy of one split to ``path``, which appears when it is complete.

    Beside the columns of the original there are ``found``; ``score`` of the detector; and ``points``, ten numbers: x and y of
    eyes, nose and corners of the mouth as shares of the crop's side, null without a face. Columns of these names are replaced.

    Raises:
        UserError: a broken picture is to be refused, or the file cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    added = {"found": pa.bool_(), "score": pa.float32(), "points": pa.list_(pa.float32())}
    kept = [column for column in split.schema if column.name not in added]
    schema = pa.schema([*kept, *added.items()])
    tally = Tally()
    with ExitStack() as stack:
        stream = stack.enter_context(draft(path))
        writer = stack.enter_context(pq.ParquetWriter(stream, schema, compression="zstd"))
        bar = stack.enter_context(tqdm(total=split.count, desc=f"aligning {split.name}", unit="face", leave=False, disable=None))
        waiting: list[dict[str, Any]] = []
        for row in _rows(split, alignment, detector, tally, bar):
            waiting.append({name: row.get(name) for name in schema.names})
            if len(waiting) >= _ROWS_AT_ONCE:
                writer.write_batch(pa.RecordBatch.from_pylist(waiting, schema=schema))
                waiting.clear()
        writer.write_batch(pa.RecordBatch.from_pylist(waiting, schema=schema))
        tally.look_again(detector)
        note = {"alignment": alignment.described(split), "facts": tally.facts() | {"problems": split.problems}}
        writer.add_key_value_metadata({_NOTE: json.dumps(note)})
    return tally


def _rows(split: Split, alignment: Alignment, detector: BatchDetector, tally: Tally, bar: Any) -> Iterator[dict[str, Any]]:
    originals = split.read()
    while group := list(islice(originals, _SEARCHED_TOGETHER)):
        faces = find_in_crops(detector, [original.pixels for original in group])
        for original, face in zip(group, faces, strict=True):
            made = alignment.apply(original.pixels, face)
            tally.add(_name(original.record), original.pixels, face, made)
            if face is not None or not alignment.found_only:
                yield _row(original, face, made, alignment)
        bar.update(len(group))


def _row(original: Original, face: DetectedFace | None, made: NDArray[np.uint8], alignment: Alignment) -> dict[str, Any]:
    image = {"bytes": png_bytes(made), "path": original.record["image"]["path"]}
    points = None
    if face is not None and face.landmarks is not None:
        points = face_square(face, alignment.crop).to_crop(face.landmarks).ravel().tolist()
    score = None if face is None else face.score
    return original.record | {"image": image, "found": face is not None, "score": score, "points": points}


def _name(record: dict[str, Any]) -> str:
    names: Sequence[Any] = (record["image"]["path"], record.get("file"), record.get("row"))
    return str(next((name for name in names if name is not None), ""))
