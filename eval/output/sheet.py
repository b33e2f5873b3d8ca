"""Sheets of faces as PNG, each saying in its metadata what it shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from engine.storage.atomic import atomic_write_bytes, make_folder
from engine.storage.provenance import Kind, png
from eval.measures.memorisation import Nearest

Picture = npt.NDArray[np.uint8]
# A photograph that the shipped weights paint stands on a sheet pixel by pixel.
TILE = 128


def write_sheet(
    path: Path,
    images: Sequence[Picture],
    labels: Sequence[str],
    columns: int,
    title: str,
    texts: Mapping[str, str] | None = None,
    *,
    kind: Kind = "generated",
) -> None:
    """Write pictures (S, S) or (S, S, 3), each over its label, in rows of ``columns``, as one PNG that says ``texts``."""
    from generation.files import sheet

    make_folder(path.parent)
    atomic_write_bytes(path, png(sheet(list(images), list(labels), columns, TILE, title), texts or {}, kind=kind))


def write_closest_pairs(
    path: Path, made: Picture, train: Picture, found: Nearest, titles: Sequence[str], *, count: int = 24, columns: int = 8
) -> None:
    """Write the made faces nearest to a training face, each above that face. It shows real people: keep it private."""
    chosen = np.argsort(found.distance, kind="stable")[:count]
    images: list[Picture] = []
    labels: list[str] = []
    for start in range(0, len(chosen), columns):
        row = chosen[start : start + columns]
        blanks = columns - len(row)
        for pictures, words in (
            ([made[index] for index in row], [f"{titles[index]} {found.distance[index]:.3g}" for index in row]),
            ([train[found.row[index]] for index in row], ["real"] * len(row)),
        ):
            images += [*pictures, *[np.full_like(made[0], 255)] * blanks]
            labels += [*words, *[""] * blanks]
    title = "Above: generated. Below: nearest REAL training face, or the one whose mirror image is. Do not publish."
    write_sheet(path, images, labels, columns, title, kind="paired")
