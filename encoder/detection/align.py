"""From a face in a picture to the crop that FER-2013 would have had: tight, square, eyes level, no black bars."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from configs.cli import UserError
from encoder.detection.face import DetectedFace

# Medians over faces of the FER-2013 test split, as shares of the side of the stored face. First its side over the box
# that a Haar cascade finds in it (see encoder.detection.haar); then what that cascade's eyes and the mean face say.
FER_SCALE = 1.02
_EYE_DISTANCE, _EYE_HEIGHT, _EYES_TO_MOUTH = 0.376, 0.383, 0.40
# Half of these faces tilt by less than 4.4 degrees either way, so turning them would only blur them.
_MIN_TILT_DEGREES = 4.4


def face_square(face: DetectedFace, scale: float = FER_SCALE) -> tuple[float, float, float, float]:
    """The square that is cut out: centre x, centre y and side in pixels, and tilt of the eyes in degrees.

    Eyes and mouth decide where they are known, so that detectors with boxes of another habit give the same crop; the box
    otherwise. The tilt is positive where the eye on the right of the picture is the lower one, and 0 without landmarks.
    """
    x, y, w, h = face.box
    centre_x, centre_y, side, tilt = x + w / 2, y + h / 2, max(w, h) * scale, 0.0
    if face.eyes is not None:
        across, down = (face.eyes[1] - face.eyes[0]).tolist()
        tilt = math.degrees(math.atan2(down, across))
        tilt = 0.0 if abs(tilt) < _MIN_TILT_DEGREES else tilt
        if face.mouth is not None:
            eyes = face.eyes.mean(axis=0)
            downward = face.mouth - eyes
            # A face that turns away keeps its height, one that nods its width: the larger says how big it is.
            side = max(math.hypot(across, down) / _EYE_DISTANCE, float(np.hypot(*downward)) / _EYES_TO_MOUTH)
            side *= scale / FER_SCALE
            centre_x, centre_y = (eyes + downward * (0.5 - _EYE_HEIGHT) / _EYES_TO_MOUTH).tolist()
    return centre_x, centre_y, side, tilt


def crop_face(
    picture: NDArray[np.uint8], face: DetectedFace, size: int, *, scale: float = FER_SCALE, level: bool = True
) -> NDArray[np.uint8]:
    """Cut one face out of an (H, W, 3) uint8 picture as (size, size, 3).

    Beyond the border of the picture its outermost pixels are repeated. The crop is resized once, with antialiasing.

    Args:
        scale: side of the crop over the side of a Haar cascade's box.
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
    # A turned square needs more picture around it, and so do the filters that turn and shrink it.
    half = side / 2 + 3 * max(1.0, side / size)
    reach = half * (abs(math.cos(math.radians(tilt))) + abs(math.sin(math.radians(tilt)))) + 3
    left, top = math.floor(centre_x - reach), math.floor(centre_y - reach)
    patch = _window(picture, left, top, math.ceil(2 * reach) + 1)
    centre_x, centre_y = centre_x - left, centre_y - top
    image = Image.fromarray(patch)
    if tilt:
        image = image.rotate(tilt, Image.Resampling.BICUBIC, center=(centre_x, centre_y))
    box = (centre_x - side / 2, centre_y - side / 2, centre_x + side / 2, centre_y + side / 2)
    return np.array(image.resize((size, size), Image.Resampling.LANCZOS, box=box))


def _window(picture: NDArray[np.uint8], left: int, top: int, side: int) -> NDArray[np.uint8]:
    """A (side, side, 3) part of the picture, repeating its border where the part reaches over it."""
    rows = np.arange(top, top + side).clip(0, picture.shape[0] - 1)
    columns = np.arange(left, left + side).clip(0, picture.shape[1] - 1)
    return picture[rows[:, None], columns]
