"""Faces by dlib's HOG detector, with eyes or 68 landmarks (extra ``dlib``). Kazemi and Sullivan, CVPR 2014.

The detector needs no file. Models of landmarks come with the extra: the eyes, and, as ``dlib:68``, 68 points. Their terms
are in :mod:`encoder.detection.dlib_models`. A model of one's own is named as ``dlib:FILE`` or in the environment variable
``MIMIQUE_DLIB_LANDMARKS``.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from configs.cli import UserError
from encoder.detection.dlib_models import (
    FIVE_POINTS,
    INSTALL,
    PACKAGE,
    POINTS_68,
    PUBLISHED_SHA256,
    packaged_model,
    require_sha256,
)
from encoder.detection.face import DetectedFace, largest_first

VARIABLE = "MIMIQUE_DLIB_LANDMARKS"
PACKAGED = "68"
NUM_LANDMARKS = 68
_EYE_CORNERS = 4  # of the model of the eyes, two an eye; a fifth point is below the nose

_MEND = (
    f"{INSTALL} and name it --detector dlib:68; or download "
    "http://dlib.net/files/shape_predictor_68_face_landmarks.dat.bz2, unpack it with bunzip2, "
    f"and name it: --detector dlib:FILE, or {VARIABLE}=FILE"
)
# Faces of 80 pixels are the smallest that HOG finds; one doubling brings that to 40.
_DOUBLINGS = 1
_LARGEST_DOUBLED = 2_000_000
# Lowest margin of a face: of 400 crops of FER-2013 (valid) 350 are found so, and 294 at 0. A false face scores as little.
_LOWEST = -0.4
# A crop of FER-2013 is seen at four times its 48 pixels, with its border repeated on a quarter of the side: so HOG finds 84
# of 100 faces of the test split, and this is the median of their boxes, as shares of the crop's side.
_CROP_SIDE, _CROP_MARGIN = 192, 48
CROP_BOX = (0.03, 0.135, 0.94)


class DlibDetector:
    """``score`` is the margin of the classifier, -0.4 to about 3.5; landmarks are 68, in the order of iBUG 300-W, or two eyes.

    Args:
        landmarks: the model of 68 landmarks, or ``"68"`` for the packaged one. None takes the file that
            ``MIMIQUE_DLIB_LANDMARKS`` names; else the packaged model of the eyes, and without that package none.
        sha256: a file must have this hash, because dlib does not defend itself against made-up files. None accepts a
            model of your own.

    Raises:
        UserError: dlib or the file is missing, or the file is another one.
    """

    def __init__(self, landmarks: str | Path | None = None, *, sha256: str | None = PUBLISHED_SHA256[POINTS_68]) -> None:
        try:
            import dlib
        except ImportError:
            raise UserError(f"the dlib detector needs the package dlib; {INSTALL}") from None
        path = _landmark_file(landmarks, sha256)
        try:
            self._predictor: Any = None if path is None else dlib.shape_predictor(str(path))
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            raise UserError(f"{path}: dlib cannot read this landmark model ({reason}); {_MEND}") from None
        self._detector = dlib.get_frontal_face_detector()
        self._dlib = dlib

    def detect(self, picture: NDArray[np.uint8]) -> list[DetectedFace]:
        """See :class:`encoder.detection.face.Detector`."""
        picture = np.ascontiguousarray(picture)
        doublings = _DOUBLINGS if picture.shape[0] * picture.shape[1] <= _LARGEST_DOUBLED else 0
        boxes, scores, _ = self._detector.run(picture, doublings, _LOWEST)
        found = []
        for box, score in zip(boxes, scores, strict=True):
            points = None if self._predictor is None else self._points(picture, box)
            found.append(DetectedFace((box.left(), box.top(), box.width(), box.height()), float(score), points))
        return largest_first(found)

    def landmarks_of_crop(self, crop: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(68, 2) x and y in pixels of a tightly cropped (S, S) grey face; where HOG finds no face, of its usual place."""
        if self._predictor is None:
            raise UserError(f"68 landmarks need a model: {_MEND}")
        image = Image.fromarray(crop).resize((_CROP_SIDE, _CROP_SIDE), Image.Resampling.BICUBIC)
        picture = np.pad(np.asarray(image), _CROP_MARGIN, mode="edge")
        boxes, _, _ = self._detector.run(picture, 0)
        left, top, side = (round(share * _CROP_SIDE) for share in CROP_BOX)
        left, top = left + _CROP_MARGIN, top + _CROP_MARGIN
        usual = self._dlib.rectangle(left, top, left + side - 1, top + side - 1)
        points = self._points(picture, max(boxes, key=lambda box: box.width(), default=usual))
        return (points - _CROP_MARGIN + 0.5) * np.float32(len(crop) / _CROP_SIDE) - np.float32(0.5)

    def _points(self, picture: NDArray[np.uint8], box: Any) -> NDArray[np.float32]:
        shape = self._predictor(picture, box)
        if shape.num_parts == _EYE_CORNERS + 1:
            corners = np.array([(point.x, point.y) for point in shape.parts()][:_EYE_CORNERS], np.float32)
            eyes = corners.reshape(2, 2, 2).mean(axis=1)
            return eyes[np.argsort(eyes[:, 0], kind="stable")]
        if shape.num_parts != NUM_LANDMARKS:
            raise UserError(f"the landmark model gives {shape.num_parts} points, not {NUM_LANDMARKS}; {_MEND}")
        return np.array([(point.x, point.y) for point in shape.parts()], np.float32)


def _landmark_file(given: str | Path | None, sha256: str | None) -> Path | None:
    name = given or os.environ.get(VARIABLE)
    path: Path | None
    if not name:
        path, sha256 = packaged_model(FIVE_POINTS), PUBLISHED_SHA256[FIVE_POINTS]
        if path is None:
            return None
    elif name == PACKAGED:
        path = packaged_model(POINTS_68)
        if path is None:
            raise UserError(f"dlib:68 needs the package {PACKAGE}: {_MEND}")
    else:
        path = Path(name).expanduser()
    if not path.is_file():
        raise UserError(f"{path}: no such file; the dlib detector needs its landmark model: {_MEND}")
    if sha256 is not None:
        require_sha256(path, sha256)
    return path
