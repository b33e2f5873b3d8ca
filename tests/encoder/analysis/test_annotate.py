"""Annotated pictures: any size can be drawn on, and none replaces another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from encoder.analysis.analyzer import Reading
from encoder.analysis.annotate import Annotator, draw_faces
from encoder.analysis.rows import FaceRow
from encoder.pictures.pictures import Picture
from encoder.pictures.sources import View


def face_row(box: tuple[int, int, int, int], top: int = 3) -> FaceRow:
    return FaceRow("x", face=0, box=box, distribution=tuple(np.eye(7)[top].tolist()))


@pytest.mark.parametrize("shape", [(20, 20), (48, 2000), (3000, 900), (600, 600)])
def test_any_picture_can_be_drawn_on(shape: tuple[int, int], rng: np.random.Generator) -> None:
    picture = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
    before = picture.copy()
    boxes = [(0, 0, shape[1], shape[0]), (-5, -5, 30, 30), (shape[1] - 10, shape[0] - 10, 40, 40)]
    drawn = draw_faces(picture, [face_row(box, top) for top, box in enumerate(boxes)])
    assert drawn.dtype == np.uint8
    assert max(drawn.shape) <= 1920
    assert drawn.shape[0] / drawn.shape[1] == pytest.approx(shape[0] / shape[1], rel=0.05)
    assert np.array_equal(picture, before)


def test_pictures_of_the_same_name_do_not_replace_each_other(tmp_path: Path) -> None:
    annotator = Annotator(tmp_path / "seen")
    for source in ("a/face.jpg", "b/face.jpg", "c/face.png", "d/FACE.jpg"):
        annotator.add(
            Reading(View(source, picture=Picture(np.zeros((48, 132, 3), np.uint8), 132, 48)), (face_row((2, 2, 40, 40)),))
        )
    annotator.close()
    assert annotator.files == 4
    assert len({path.name.lower() for path in (tmp_path / "seen").iterdir()}) == 4
