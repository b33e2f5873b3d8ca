"""Two photographs each of many people: pairs of one person and of different people, for measures of identity only."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from configs.cli import UserError

Pictures = list[NDArray[np.uint8]]
GREY_SIDE = 64


def lfw_pairs(data: str | Path, count: int, seed: int) -> tuple[Pictures, Pictures]:
    """Two aligned (128, 128, 3) faces of each of ``count`` people of LFW, of the train split of ``colour128``.

    Raises:
        UserError: the file is not there, is another one, or has not so many people with two photographs.
    """
    place = Path(data).expanduser() / "colour128" / "train.parquet"
    table = _read(place, ["source", "person", "image"])
    rows = defaultdict(list)
    for row, (source, person) in enumerate(zip(table["source"].to_pylist(), table["person"].to_pylist(), strict=True)):
        if source == "lfw":
            rows[person].append(row)
    people = sorted(person for person, where in rows.items() if len(where) > 1)
    if not 2 <= count <= len(people):
        raise UserError(f"--people: must lie between 2 and {len(people)}, the people with two photographs; got {count}")
    rng = np.random.default_rng(seed)
    chosen = [people[number] for number in rng.permutation(len(people))[:count]]
    pairs = np.array([rng.permutation(rows[person])[:2] for person in chosen])
    first, second = (_pictures(table["image"].take(column).to_pylist()) for column in pairs.T)
    return first, second


def london_pairs(data: str | Path) -> tuple[Pictures, Pictures]:
    """The neutral and the smiling photograph, (512, 512, 3), of each of the 102 people of the Face Research Lab London Set.

    Raises:
        UserError: the file is not there, or is another one.
    """
    table = _read(Path(data).expanduser() / "london" / "london.parquet", ["person", "expression", "image"])
    shown: dict[str, dict[str, Any]] = defaultdict(dict)
    for person, expression, image in zip(*(table[name].to_pylist() for name in table.column_names), strict=True):
        shown[person]["neutral" if expression == "neutral" else "smile"] = image
    people = sorted(person for person, pictures in shown.items() if len(pictures) == 2)
    return _pictures(shown[person]["neutral"] for person in people), _pictures(shown[person]["smile"] for person in people)


def small_grey(pictures: Iterable[NDArray[np.uint8]]) -> Pictures:
    """The luma of square faces at 64 pixels, (64, 64): what the generator works with."""
    side = (GREY_SIDE, GREY_SIDE)
    return [np.asarray(Image.fromarray(one).convert("L").resize(side, Image.Resampling.LANCZOS)) for one in pictures]


def _read(place: Path, columns: list[str]) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_table(place, columns=columns).select(columns)
    except FileNotFoundError:
        raise UserError(f"{place}: no such file; --data names the folder with colour128/ and london/") from None
    except (OSError, KeyError, pa.ArrowException) as error:
        raise UserError(f"{place}: not the file that is needed ({' '.join(str(error).split())})") from None


def _pictures(files: Iterable[dict[str, Any]]) -> Pictures:
    return [np.asarray(Image.open(io.BytesIO(file["bytes"])).convert("RGB")) for file in files]
