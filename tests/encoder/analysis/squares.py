"""Pictures of drawn faces and a detector that finds them, for tests of reading."""

from __future__ import annotations

import numpy as np

from configs.cli import UserError
from encoder.detection.face import DetectedFace
from encoder.drawing.faces import draw_faces as drawn_faces


class Squares:
    """A detector that finds what the first pixel says: (k, 0, 0) means k faces of 40 pixels side by side."""

    def detect(self, picture: np.ndarray) -> list[DetectedFace]:
        count = int(picture[0, 0, 0])
        if count == 99:
            raise UserError("detector broke")
        return [
            DetectedFace((2 + 42 * k, 2, 40 - k, 40 - k), 1.0, np.array([[12 + 42 * k, 18], [30 + 42 * k, 18]]))
            for k in range(count)
        ]


def scene(faces: int, seed: int = 0) -> np.ndarray:
    """A picture in which :class:`Squares` finds so many drawn faces."""
    picture = np.zeros((48, 132, 3), np.uint8)
    drawn = drawn_faces(max(faces, 1), seed=seed, size=40).images
    for k in range(min(faces, 3)):
        picture[2:42, 2 + 42 * k : 42 + 42 * k] = drawn[k][..., None]
    picture[0, 0] = (faces, 0, 0)
    return picture
