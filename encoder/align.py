"""From a face in a picture to the crop that FER-2013 would have had: tight, square, eyes level, no black bars."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from configs.cli import UserError
from encoder.detect import Face

# FER-2013 faces measure 1.02 times the box that a Haar cascade finds in them (see encoder.detect_haar).
FER_SCALE = 1.02
# Half of the faces of FER-2013 tilt by less than 4.4 degrees either way, so turning them would only blur them.
_MIN_TILT_DEGREES = 4.4


def face_square(face: Face, scale: float = FER_SCALE) -> tuple[float, float, float, float]:
    """The square that is cut out: centre x, centre y and side in pixels, and tilt of the eyes in degrees.

    The tilt is positive where the eye on the right of the picture is the lower one, and 0 without landmarks.
    """
    x, y, w, h = face.box
    tilt = 0.0
    if face.eyes is not None:
        across, down = (face.eyes[1] - face.eyes[0]).tolist()
        tilt = math.degrees(math.atan2(down, across))
        tilt = 0.0 if abs(tilt) < _MIN_TILT_DEGREES else tilt
    return x + w / 2, y + h / 2, max(w, h) * scale, tilt


def crop_face(
    picture: NDArray[np.uint8], face: Face, size: int, *, scale: float = FER_SCALE, level: bool = True
) -> NDArray[np.uint8]:
    """Cut one face out of an (H, W, 3) uint8 picture as (size, size, 3).

    Beyond the border of the picture its outermost pixels are repeated. The crop is resized once, with antialiasing.

    Args:
        scale: side of the crop over the longer side of the box.
        level: turn the face so that its eyes are level, where they are known.

    Raises:
        UserError: the box has no pixel in the picture.
    """
    centre_x, centre_y, side, tilt = face_square(face, scale)
    x, y, w, h = face.box
    height, width = picture.shape[:2]
    if w < 1 or h < 1 or x >= width or y >= height or x + w <= 0 or y + h <= 0:
        raise UserError(f"face box {face.box} lies outside the picture of {width}x{height} pixels")
    tilt = tilt if level else 0.0
    # A turned square needs more picture around it; two pixels feed the filters.
    reach = side / 2 * (abs(math.cos(math.radians(tilt))) + abs(math.sin(math.radians(tilt)))) + 2
    left, top = math.floor(centre_x - reach), math.floor(centre_y - reach)
    patch = _window(picture, left, top, math.ceil(2 * reach) + 1)
    centre_x, centre_y = centre_x - left, centre_y - top
    image = Image.fromarray(patch)
    if tilt:
        image = image.rotate(tilt, Image.Resampling.BICUBIC, center=(centre_x, centre_y))
    box = (centre_x - side / 2, centre_y - side / 2, centre_x + side / 2, centre_y + side / 2)
    return np.asarray(image.resize((size, size), Image.Resampling.LANCZOS, box=box))


def _window(picture: NDArray[np.uint8], left: int, top: int, side: int) -> NDArray[np.uint8]:
    """A (side, side, 3) part of the picture, repeating its border where the part reaches over it."""
    rows = np.arange(top, top + side).clip(0, picture.shape[0] - 1)
    columns = np.arange(left, left + side).clip(0, picture.shape[1] - 1)
    return picture[rows[:, None], columns]
