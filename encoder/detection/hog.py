"""Faces by dlib's HOG detector with 68 landmarks (extra ``dlib``). Kazemi and Sullivan, CVPR 2014.

The landmark model is not ours to give: its training set, iBUG 300-W, excludes commercial use. A user downloads it once
from dlib.net and names it, as ``dlib:FILE`` or in the environment variable ``MIMIQUE_DLIB_LANDMARKS``.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from configs.cli import UserError
from encoder.detection.face import Face, largest_first

VARIABLE = "MIMIQUE_DLIB_LANDMARKS"
# shape_predictor_68_face_landmarks.dat, 99,693,937 bytes, from http://dlib.net/files/ (unpacked).
PUBLISHED_SHA256 = "fbdc2cb80eb9aa7a758672cbfdda32ba6300efe9b6e6c7a299ff7e736b11b92f"
NUM_LANDMARKS = 68

_MEND = (
    "download http://dlib.net/files/shape_predictor_68_face_landmarks.dat.bz2, unpack it with bunzip2, "
    f"and name it: --detector dlib:FILE, or {VARIABLE}=FILE"
)
# Faces of 80 pixels are the smallest that HOG finds; one doubling brings that to 40.
_DOUBLINGS = 1
_LARGEST_DOUBLED = 2_000_000
# A crop of FER-2013 is seen at four times its 48 pixels, with its border repeated on a quarter of the side: so HOG finds 84
# of 100 faces of the test split, and this is the median of their boxes, as shares of the crop's side.
_CROP_SIDE, _CROP_MARGIN = 192, 48
_CROP_BOX = (0.03, 0.135, 0.94)


class DlibDetector:
    """``score`` is the margin of the classifier, 0 to about 3.5; landmarks are 68, in the order of iBUG 300-W.

    Args:
        landmarks: the landmark model; None takes the file that ``MIMIQUE_DLIB_LANDMARKS`` names.
        sha256: the file must have this hash, because dlib does not defend itself against made-up files. None accepts a
            model of your own.

    Raises:
        UserError: dlib or the file is missing, or the file is another one.
    """

    def __init__(self, landmarks: str | Path | None = None, *, sha256: str | None = PUBLISHED_SHA256) -> None:
        try:
            import dlib
        except ImportError:
            raise UserError("the dlib detector needs the package dlib; install the extra: pip install -e '.[dlib]'") from None
        path = _landmark_file(landmarks, sha256)
        try:
            self._predictor = dlib.shape_predictor(str(path))
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            raise UserError(f"{path}: dlib cannot read this landmark model ({reason}); {_MEND}") from None
        self._detector = dlib.get_frontal_face_detector()
        self._dlib = dlib

    def detect(self, picture: NDArray[np.uint8]) -> list[Face]:
        """See :class:`encoder.detection.face.Detector`."""
        picture = np.ascontiguousarray(picture)
        doublings = _DOUBLINGS if picture.shape[0] * picture.shape[1] <= _LARGEST_DOUBLED else 0
        boxes, scores, _ = self._detector.run(picture, doublings)
        found = []
        for box, score in zip(boxes, scores, strict=True):
            points = self._points(picture, box)
            found.append(Face((box.left(), box.top(), box.width(), box.height()), float(score), points))
        return largest_first(found)

    def landmarks_of_crop(self, crop: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(68, 2) x and y in pixels of a tightly cropped (S, S) grey face; where HOG finds no face, of its usual place."""
        image = Image.fromarray(crop).resize((_CROP_SIDE, _CROP_SIDE), Image.Resampling.BICUBIC)
        picture = np.pad(np.asarray(image), _CROP_MARGIN, mode="edge")
        boxes, _, _ = self._detector.run(picture, 0)
        left, top, side = (round(share * _CROP_SIDE) for share in _CROP_BOX)
        left, top = left + _CROP_MARGIN, top + _CROP_MARGIN
        usual = self._dlib.rectangle(left, top, left + side - 1, top + side - 1)
        points = self._points(picture, max(boxes, key=lambda box: box.width(), default=usual))
        return (points - _CROP_MARGIN + 0.5) * np.float32(len(crop) / _CROP_SIDE) - np.float32(0.5)

    def _points(self, picture: NDArray[np.uint8], box: Any) -> NDArray[np.float32]:
        shape = self._predictor(picture, box)
        if shape.num_parts != NUM_LANDMARKS:
            raise UserError(f"the landmark model gives {shape.num_parts} points, not {NUM_LANDMARKS}; {_MEND}")
        return np.array([(point.x, point.y) for point in shape.parts()], np.float32)


def _landmark_file(given: str | Path | None, sha256: str | None) -> Path:
    name = given or os.environ.get(VARIABLE)
    if not name:
        raise UserError(f"the dlib detector needs its landmark model: {_MEND}")
    path = Path(name).expanduser()
    if not path.is_file():
        raise UserError(f"{path}: no such file; the dlib detector needs its landmark model: {_MEND}")
    if sha256 is not None:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != sha256:
            raise UserError(f"{path}: not the published landmark model (SHA-256 {found[:16]}...); {_MEND}")
    return path
