"""Faces by dlib's HOG detector with 68 landmarks (extra ``dlib``). Kazemi and Sullivan, CVPR 2014.

The landmark model is not ours to give: its training set, iBUG 300-W, excludes commercial use. A user downloads it once
from dlib.net and names it, as ``dlib:FILE`` or in the environment variable ``MIMIQUE_DLIB_LANDMARKS``.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from configs.cli import UserError
from encoder.detect import Face, largest_first

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

    def detect(self, picture: NDArray[np.uint8]) -> list[Face]:
        """See :class:`encoder.detect.Detector`."""
        picture = np.ascontiguousarray(picture)
        doublings = _DOUBLINGS if picture.shape[0] * picture.shape[1] <= _LARGEST_DOUBLED else 0
        boxes, scores, _ = self._detector.run(picture, doublings)
        found = []
        for box, score in zip(boxes, scores, strict=True):
            shape = self._predictor(picture, box)
            if shape.num_parts != NUM_LANDMARKS:
                raise UserError(f"the landmark model gives {shape.num_parts} points, not {NUM_LANDMARKS}; {_MEND}")
            points = np.array([(point.x, point.y) for point in shape.parts()], np.float32)
            found.append(Face((box.left(), box.top(), box.width(), box.height()), float(score), points))
        return largest_first(found)


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
