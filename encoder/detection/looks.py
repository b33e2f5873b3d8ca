"""What a network of faces as points sees in a part of a picture, scaled and turned, and where that lies in the picture."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from encoder.detection.face import DetectedFace

# Lowest score of a candidate.
_CANDIDATE = 0.3
# Faces that share so much of both, or of the smaller one, are one.
_OVERLAP, _INSIDE = 0.3, 0.6
_STRIDE, _MULTIPLE = 4, 32


@dataclass(frozen=True, eq=False)
class Found:
    """One face in coordinates of the picture, in which pixel i reaches from i to i + 1.

    Attributes:
        size: width and height of a box that stands upright where the picture is turned by ``turn`` degrees.
        points: (5, 2) eyes, nose and corners of the mouth, left before right if the face stood upright.
    """

    score: float
    centre: NDArray[np.float64]
    size: NDArray[np.float64]
    turn: float
    points: NDArray[np.float64]

    @property
    def tilt(self) -> float:
        """Degrees by which the eyes' line falls to the right."""
        across, down = self.points[1] - self.points[0]
        return math.degrees(math.atan2(down, across))

    @classmethod
    def of(cls, face: DetectedFace) -> Found:
        """What a detector found before."""
        box = np.array(face.box, np.float64)
        points = np.asarray(face.landmarks, np.float64) + 0.5
        return cls(face.score or 0.0, box[:2] + box[2:] / 2, box[2:], 0.0, points)

    def as_face(self) -> DetectedFace:
        """With the upright box around the turned one's ellipse."""
        size = np.sqrt(turn_matrix(self.turn) ** 2 @ self.size**2)
        left, top = np.round(self.centre - size / 2).astype(int).tolist()
        width, height = np.maximum(np.round(size).astype(int), 1).tolist()
        return DetectedFace((left, top, width, height), self.score, (self.points - 0.5).astype(np.float32))


class View:
    """A part of a picture as the network sees it: scaled, turned, the picture mirrored at its border.

    Args:
        centre: x and y of its middle in the picture.
        scale: pixels of the view for one of the picture.
        size: width and height of the view, rounded up to multiples of 32.
        turn: a face whose eyes fall by so many degrees stands upright in the view.
    """

    def __init__(
        self,
        picture: NDArray[np.uint8],
        centre: Sequence[float] | NDArray,
        scale: float,
        size: Sequence[float],
        turn: float = 0.0,
    ) -> None:
        import cv2

        self.centre, self.scale, self.turn = np.asarray(centre, np.float64), scale, turn
        self.size = np.array([math.ceil(side / _MULTIPLE) * _MULTIPLE for side in size])
        self._turned = turn_matrix(turn) / scale
        # What is shrunk is averaged first: warping picks single pixels.
        height, width = picture.shape[:2]
        self._limits = width, height
        reach = math.hypot(*self.size) / 2 / scale + 2
        left, top = np.clip(np.floor(self.centre - reach), 0, (width - 1, height - 1)).astype(int)
        right, bottom = np.clip(np.ceil(self.centre + reach), (left + 1, top + 1), (width, height)).astype(int)
        part = picture[top:bottom, left:right]
        factors = np.ones(2)
        if scale < 1:
            small = max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale))
            factors = np.array(small) / (right - left, bottom - top)
            part = cv2.resize(part, small, interpolation=cv2.INTER_AREA)
        linear = self._turned * factors[:, None]
        shift = (self.centre - (left, top)) * factors - linear @ (self.size / 2)
        matrix = np.column_stack([linear, shift + linear @ (0.5, 0.5) - 0.5])
        self.pixels: NDArray[np.uint8] = cv2.warpAffine(
            part, matrix, self.size.tolist(), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REFLECT_101
        )

    def read(self, heat: NDArray, sizes: NDArray, offsets: NDArray, points: NDArray) -> list[Found]:
        """The faces in the network's answer, each once, in coordinates of the picture."""
        rows, columns = np.nonzero(heat[0] > _CANDIDATE)
        scores = heat[0, rows, columns].astype(np.float64)
        order = np.argsort(-scores, kind="stable")[:1000]
        rows, columns, scores = rows[order], columns[order], scores[order]
        cells = np.stack([columns, rows], axis=1) + 0.5 + offsets[::-1, rows, columns].T
        size = np.exp(sizes[::-1, rows, columns].T.astype(np.float64)) * _STRIDE
        centres = cells * _STRIDE
        marks = points[:, rows, columns].T.reshape(-1, 5, 2)[..., ::-1] * size[:, None] + (centres - size / 2)[:, None]
        found = []
        for k in _distinct(np.concatenate([centres - size / 2, centres + size / 2], axis=1)):
            centre = self._to_picture(centres[k])
            # In the border there are only mirror images.
            if ((centre >= 0) & (centre < self._limits)).all():
                found.append(Found(float(scores[k]), centre, size[k] / self.scale, self.turn, self._to_picture(marks[k])))
        return found

    def _to_picture(self, points: NDArray) -> NDArray[np.float64]:
        return (points - self.size / 2) @ self._turned.T + self.centre


def turn_matrix(degrees: float) -> NDArray[np.float64]:
    """Turns by so many degrees."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.array([[cos, -sin], [sin, cos]])


def once(faces: Iterable[Found]) -> list[Found]:
    """The surest of those that show the same face."""
    ordered = sorted(faces, key=lambda face: -face.score)
    corners = [np.concatenate([face.centre - face.size / 2, face.centre + face.size / 2]) for face in ordered]
    return [ordered[k] for k in _distinct(np.array(corners).reshape(-1, 4))]


def _distinct(boxes: NDArray[np.float64]) -> list[int]:
    """Of (N, 4) corners, the surest first, those that no surer one covers."""
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    left, kept = np.arange(len(boxes)), []
    while len(left):
        first, left = left[0], left[1:]
        kept.append(int(first))
        low, high = np.maximum(boxes[first, :2], boxes[left, :2]), np.minimum(boxes[first, 2:], boxes[left, 2:])
        shared = np.prod(np.maximum(high - low, 0), axis=1)
        same = shared > _OVERLAP * (areas[first] + areas[left] - shared)
        same |= shared > _INSIDE * np.minimum(areas[first], areas[left])
        left = left[~same]
    return kept
