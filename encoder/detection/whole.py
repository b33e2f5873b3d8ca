"""Pictures that are cropped faces already: they are read whole, because to cut a crop again takes pixels from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from encoder.config import CropConfig
from encoder.detection.align import face_square
from encoder.detection.face import DetectedFace

# auto: by the rule below; yes: every picture is a crop, and no face is searched; no: faces are cut out of every picture.
Crops = Literal["auto", "yes", "no"]
CROPS: tuple[Crops, ...] = ("auto", "yes", "no")

# Crops of data sets of expressions have 48 to 224 pixels (FER-2013, RAF-DB, AffectNet), and are square or nearly so.
_MAX_SIDE, _MAX_ASPECT = 256, 1.25
# The square that would be cut (eyes 0.40 of its side apart) over the shorter side of the picture. In FER-2013 (valid) 95 % of
# the faces lie within these bounds, in colour128 (valid) all. Portraits with hair, as FFHQ is aligned, have their eyes at
# most a quarter of the width apart: 0.63.
_LEAST_SHARE, _MOST_SHARE = 0.7, 1.4
# How far the middle of that square may lie from the middle of the picture, and how far its eyes may tilt. Of the 77 of 895
# faces of FER-2013 (valid) that these bounds leave out 43 are right by its labels when they are cut again, 35 when read whole.
_MAX_SHIFT, _MAX_TILT_DEGREES = 0.25, 30.0
# A picture without any face that is found is a crop up to this size: so small a picture was cut out of another.
_FACELESS_SIDE = 64


def is_crop(picture: NDArray[np.uint8], found: Sequence[DetectedFace]) -> bool:
    """Whether an (H, W, 3) picture is a cropped face; ``found``: the faces that a detector sees in it, the largest first.

    It is one where it has at most 256 pixels a side, is nearly square, and its largest face fills it: the crop that would be
    cut is about the picture. Where no face is found it has to have at most 64 pixels a side.
    """
    height, width = picture.shape[:2]
    short, long = min(height, width), max(height, width)
    if long > _MAX_SIDE or long > _MAX_ASPECT * short:
        return False
    if not found:
        return long <= _FACELESS_SIDE
    place = face_square(found[0], CropConfig())
    shift = max(abs(place.x + 0.5 - width / 2), abs(place.y + 0.5 - height / 2)) / short
    return _LEAST_SHARE <= place.side / short <= _MOST_SHARE and shift <= _MAX_SHIFT and abs(place.tilt) <= _MAX_TILT_DEGREES


def whole_face(picture: NDArray[np.uint8], found: Sequence[DetectedFace], crops: Crops) -> DetectedFace | None:
    """The whole picture as one face, with the score and the landmarks of the largest found in it; None: it is no crop."""
    if crops == "no" or (crops == "auto" and not is_crop(picture, found)):
        return None
    box = (0, 0, picture.shape[1], picture.shape[0])
    return DetectedFace(box, found[0].score, found[0].landmarks) if found else DetectedFace(box)
