"""Faces by OpenCV's Haar cascades: no download, no extra package, frontal faces. Viola and Jones, CVPR 2001.

FER-2013 was cut out with such a detector: on 300 of its test faces the box found here measures 0.98 of the side of the
stored face and has the same centre (medians), so a box is already the crop that the encoder was trained on.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from configs.cli import UserError
from encoder.detection.face import DetectedFace, largest_first

# Larger pictures are searched at this size: time is bounded, and a face must measure 1/64 of the longer side anyway.
_SEARCH_SIDE = 1600
_MIN_SIDE = 24  # the window that the cascade was trained with
_SCALE_STEP = 1.1
# A face needs both eyes, or so many windows. Of 37 false faces in pictures of things 12 are left, of 116 true ones 112.
_MIN_WINDOWS = 5
_MIN_WINDOWS_WITHOUT_EYES = 12
# Both eyes, where a face has them, as shares of the box.
_EYE_BAND = (0.18, 0.58)
_EYE_DISTANCE = (0.28, 0.60)
_MAX_TILT_DEGREES = 25.0


class HaarDetector:
    """``score`` is the number of overlapping windows that agree on the face (5 or more); landmarks are the two eyes."""

    def __init__(self) -> None:
        self._faces = _cascade("haarcascade_frontalface_default.xml")
        self._eyes = _cascade("haarcascade_eye.xml")

    def detect(self, picture: NDArray[np.uint8]) -> list[DetectedFace]:
        """See :class:`encoder.detection.face.Detector`."""
        import cv2

        grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
        height, width = grey.shape
        shrink = min(1.0, _SEARCH_SIDE / max(height, width))
        searched = grey
        if shrink < 1.0:
            size = (max(1, round(width * shrink)), max(1, round(height * shrink)))
            searched = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
        if min(searched.shape) < _MIN_SIDE:
            return []
        boxes, windows = self._faces.detectMultiScale2(
            searched, scaleFactor=_SCALE_STEP, minNeighbors=_MIN_WINDOWS, minSize=(_MIN_SIDE, _MIN_SIDE)
        )
        found = []
        for box, count in zip(boxes, windows, strict=True):
            x, y, w, h = (round(float(value) / shrink) for value in box)
            w, h = min(w, width - x), min(h, height - y)
            eyes = self._find_eyes(grey, x, y, w, h)
            if eyes is not None or count >= _MIN_WINDOWS_WITHOUT_EYES:
                found.append(DetectedFace((x, y, w, h), float(count), eyes))
        return largest_first(found)

    def _find_eyes(self, grey: NDArray[np.uint8], x: int, y: int, w: int, h: int) -> NDArray[np.float32] | None:
        """(2, 2) eye centres, or None unless one plausible pair is found."""
        import cv2

        top, bottom = y + int(h * _EYE_BAND[0]), y + int(h * _EYE_BAND[1])
        band = grey[top:bottom, x : x + w]
        # The eye cascade needs eyes of 20 pixels; at 160 pixels a face's eyes measure about 35.
        zoom = 160 / w
        band = cv2.resize(band, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA if zoom < 1 else cv2.INTER_CUBIC)
        boxes, windows = self._eyes.detectMultiScale2(band, scaleFactor=1.05, minNeighbors=4, minSize=(24, 24), maxSize=(64, 64))
        if len(boxes) < 2:
            return None
        centres = np.asarray(boxes, np.float32)[:, :2] + np.asarray(boxes, np.float32)[:, 2:] / 2
        centres = centres / zoom + np.array([x, top], np.float32)
        best, best_windows = None, 0
        for i, left in enumerate(centres):
            for j, right in enumerate(centres):
                if _is_pair(left, right, x, w) and windows[i] + windows[j] > best_windows:
                    best, best_windows = np.stack([left, right]), windows[i] + windows[j]
        return best


def _is_pair(left: NDArray[np.float32], right: NDArray[np.float32], x: int, w: int) -> bool:
    across, down = right - left
    if across <= 0 or not _EYE_DISTANCE[0] * w <= np.hypot(across, down) <= _EYE_DISTANCE[1] * w:
        return False
    middle = (left[0] + right[0]) / 2 - x
    return abs(np.degrees(np.arctan2(down, across))) <= _MAX_TILT_DEGREES and 0.35 * w <= middle <= 0.65 * w


def _cascade(name: str) -> Any:
    try:
        import cv2
    except ImportError as error:
        raise UserError(f"OpenCV cannot be imported ({error}); install it: pip install -c constraints.txt -e .") from None
    if not hasattr(cv2, "CascadeClassifier"):
        raise UserError(
            f"OpenCV {cv2.__version__} has no Haar cascades; install the pinned one: pip install -c constraints.txt -e ."
        )
    path = Path(cv2.__file__).parent / "data" / name
    cascade = cv2.CascadeClassifier(str(path)) if path.is_file() else None
    if cascade is None or cascade.empty():
        raise UserError(f"{path}: missing from this OpenCV; install the pinned one again: pip install -c constraints.txt -e .")
    return cascade
