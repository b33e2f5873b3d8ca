"""The face in each of many small pictures that are cropped faces already, such as a data set's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from encoder.detection.face import BatchDetector, DetectedFace

# Smaller pictures are enlarged so often, on a black canvas with a margin of this share of their side. So CenterFace
# finds 3,568 of the 3,579 faces of FER-2013's valid split.
_SMALL, _ZOOM, _MARGIN = 64, 3, 1 / 6


def find_in_crops(detector: BatchDetector, pictures: Sequence[NDArray[np.uint8]]) -> list[DetectedFace | None]:
    """The largest face of each (H, W, 3) uint8 picture, in pixels of that picture; None where none is found."""
    canvases, margins = zip(*map(_canvas, pictures), strict=True) if pictures else ((), ())
    found = detector.detect_all(canvases)
    return [
        None if not faces else faces[0] if margin is None else _moved(faces[0], margin)
        for faces, margin in zip(found, margins, strict=True)
    ]


def _canvas(picture: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], int | None]:
    """What is searched, and its margin where the picture was enlarged."""
    import cv2

    height, width = picture.shape[:2]
    if max(height, width) > _SMALL:
        return picture, None
    margin = round(_ZOOM * max(height, width) * _MARGIN)
    large = cv2.resize(picture, (_ZOOM * width, _ZOOM * height), interpolation=cv2.INTER_CUBIC)
    return np.pad(large, ((margin, margin), (margin, margin), (0, 0))), margin


def _moved(face: DetectedFace, margin: int) -> DetectedFace:
    x, y, w, h = face.box
    box = round((x - margin) / _ZOOM), round((y - margin) / _ZOOM), max(1, round(w / _ZOOM)), max(1, round(h / _ZOOM))
    # Pixel centres: x in the picture is (x + 0.5) * zoom - 0.5 in the enlarged one.
    points = None if face.landmarks is None else ((face.landmarks + (0.5 - margin)) / _ZOOM - 0.5).astype(np.float32)
    return replace(face, box=box, landmarks=points)
