"""A found face, and what every detector offers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class DetectedFace:
    """One face in a picture.

    Attributes:
        box: left, top, width and height in pixels; it may reach over the border of the picture.
        score: how sure the detector is, higher is surer, on the detector's own scale: compare it within one detector
            only. None where the detector gives none.
        landmarks: (K, 2) float32 x and y in pixels; K is 2 (the two eyes), 5 (eyes, nose, corners of the mouth) or 68
            (iBUG 300-W order). None where the detector found none. "Left" is the left of the picture, for
            a turned face after it is held upright.
    """

    box: tuple[int, int, int, int]
    score: float | None = None
    landmarks: NDArray[np.float32] | None = None

    @property
    def area(self) -> int:
        """Pixels inside the box."""
        return self.box[2] * self.box[3]

    @property
    def eyes(self) -> NDArray[np.float32] | None:
        """(2, 2) centres of the eye on the left and on the right of the picture, or None."""
        if self.landmarks is None:
            return None
        if len(self.landmarks) == 68:
            return np.stack([self.landmarks[36:42].mean(axis=0), self.landmarks[42:48].mean(axis=0)])
        return self.landmarks[:2]

    @property
    def mouth(self) -> NDArray[np.float32] | None:
        """(2,) centre of the mouth, or None where there are no landmarks but the eyes."""
        if self.landmarks is None or len(self.landmarks) < 5:
            return None
        return (self.landmarks[48:] if len(self.landmarks) == 68 else self.landmarks[3:5]).mean(axis=0)


class Detector(Protocol):
    """Finds faces; made once by :func:`create_detector`, used for many pictures."""

    def detect(self, picture: NDArray[np.uint8]) -> list[DetectedFace]:
        """Faces of an (H, W, 3) uint8 RGB picture, the largest first; an empty list where there is none.

        Raises:
            UserError: the detector itself cannot work (a file or a package is missing).
        """
        ...


@runtime_checkable
class BatchDetector(Detector, Protocol):
    """Looks at several pictures together, such as frames of a video."""

    def detect_all(self, pictures: Sequence[NDArray[np.uint8]]) -> list[list[DetectedFace]]:
        """For each picture what :meth:`Detector.detect` gives; raises for none of them."""
        ...


def largest_first(faces: list[DetectedFace]) -> list[DetectedFace]:
    """By area, then from left to right, so that the order never depends on the detector's inner workings."""
    return sorted(faces, key=lambda face: (-face.area, face.box))
