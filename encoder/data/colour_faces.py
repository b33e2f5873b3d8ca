"""Sharp colour faces with their eyes in one place, and what raters said of the people: the layout of ``colour128``.

One Parquet file a split, with an ``image`` column of ``{bytes, path}`` and these beside it::

    source             string       where the face comes from: fairface, lfw
    file               string       its name there
    person             string       who it is (null: unknown)
    age, gender, race  string       as raters saw them (null: unknown)
    yaw                float        distance of the tip of the nose from the middle, in eye distances; 0 is frontal
    points             10 x float   two corners of each eye and the point under the nose, as x, y in units of the picture

Nothing here says which emotion a face shows. The labels of FairFace are those of K. Kärkkäinen and J. Joo (WACV 2021).
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from configs.cli import UserError
from encoder.data.face_parquet import count_rows, read_rows
from encoder.pictures.face_images import BadImage, decode_colour_face

ColourSplit = Literal["train", "valid"]
COLOUR_SPLITS: tuple[ColourSplit, ...] = ("train", "valid")
POINTS = 5
_TEXTS = ("source", "file", "person", "age", "gender", "race")


@dataclass(frozen=True, eq=False)
class ColourFaces:
    """N colour faces in memory; text is ``""`` where nothing is known.

    Attributes:
        images: (N, S, S, 3) uint8 red, green, blue.
        source, file, person, age, gender, race: (N,) text.
        yaw: (N,) float32 in eye distances.
        points: (N, 5, 2) float32 x and y as shares of the picture's side: outer and inner corner of the eye on the right of
            the picture, outer and inner corner of the other, the point under the nose.
    """

    images: NDArray[np.uint8]
    source: NDArray[np.str_]
    file: NDArray[np.str_]
    person: NDArray[np.str_]
    age: NDArray[np.str_]
    gender: NDArray[np.str_]
    race: NDArray[np.str_]
    yaw: NDArray[np.float32]
    points: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.images)

    def subset(self, index: ArrayLike) -> ColourFaces:
        """The faces at ``index`` (integers in any order, or a boolean mask of length N)."""
        return replace(self, **{column.name: getattr(self, column.name)[np.asarray(index)] for column in fields(self)})

    def grey(self) -> NDArray[np.uint8]:
        """(N, S, S) uint8 luma, as the readers of grey faces make it from the same files."""
        return np.stack([np.asarray(Image.fromarray(face).convert("L")) for face in self.images])


def load_colour_faces(path: str | Path, split: ColourSplit, size: int = 128) -> ColourFaces:
    """Load one split of colour faces, decoding a batch of rows at a time.

    Args:
        path: folder with ``train.parquet`` and ``valid.parquet`` in the layout above.
        split: which of the two. ``colour128`` holds 31,063 and 2,517 faces; the first takes 1.5 GB at 128 pixels.
        size: side of the faces in pixels; others than the stored ones are made with antialiasing.

    Raises:
        UserError: no such split or file, a column is missing or has another type, or a row is broken.
    """
    if split not in COLOUR_SPLITS:
        raise UserError(f"unknown split {split!r} of colour faces: there are {', '.join(COLOUR_SPLITS)}")
    if not 8 <= size <= 1024:
        raise UserError(f"size of faces must lie between 8 and 1024 pixels, got {size}")
    file = Path(path) / f"{split}.parquet"
    if not file.is_file():
        raise UserError(f"{file}: no such file; give the folder that holds train.parquet and valid.parquet of colour128")
    columns = (*_TEXTS, "yaw", "points", "image")
    count = count_rows(file)
    images = np.empty((count, size, size, 3), np.uint8)
    yaw, points = np.empty(count, np.float32), np.empty((count, POINTS, 2), np.float32)
    texts: dict[str, list[str]] = {name: [] for name in _TEXTS}
    for number, row in read_rows(file, columns, required=columns):
        place = f"{file} row {number} ({row['file']})"
        images[number] = _decoded(row, size, place)
        yaw[number], points[number] = _numbers(row, place)
        for name, column in texts.items():
            column.append(row[name] or "")
    return ColourFaces(images, **{name: np.array(text, np.str_) for name, text in texts.items()}, yaw=yaw, points=points)


def _decoded(row: dict[str, Any], size: int, place: str) -> NDArray[np.uint8]:
    try:
        return decode_colour_face((row["image"] or {}).get("bytes") or b"", size)
    except BadImage as error:
        raise UserError(f"{place}: {error}; mend or remove the row") from None


def _numbers(row: dict[str, Any], place: str) -> tuple[float, NDArray[np.float32]]:
    given = row["points"]
    if row["yaw"] is None or given is None or len(given) != 2 * POINTS or None in given:
        raise UserError(f"{place}: needs a yaw and {2 * POINTS} numbers as points; mend or remove the row")
    return row["yaw"], np.array(given, np.float32).reshape(POINTS, 2)
