"""A face turned, scaled and shifted so that its eyes come to lie where a crop wants them."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from encoder.config import CropConfig

# Middle of the eyes to middle of the mouth over the distance of the eyes. As CenterFace finds the faces of FER-2013's valid
# split the median is 0.96, and a quarter have more than this: faces that turn away, whose eyes come together while their
# height stays, and open mouths.
EYES_TO_MOUTH = 1.05


def upright(
    picture: NDArray[np.uint8],
    eyes: NDArray[np.floating],
    mouth: NDArray[np.floating] | None,
    convention: CropConfig,
    size: int,
) -> NDArray[np.uint8]:
    """The (size, size, C) crop of an (H, W, C) uint8 picture around the face with these eyes and this mouth.

    What lies outside the picture is mirrored in. The picture is brought near the size of the crop by area averaging
    first, so that one bilinear step after it neither blurs nor aliases.

    Args:
        eyes: (2, 2) x and y in pixels of the eye on the left and on the right of the picture.
        mouth: (2,) middle of the mouth, or None: then the eyes alone say how large the face is.
    """
    middle = np.asarray(eyes, np.float64).mean(axis=0)
    across, down = (np.asarray(eyes[1], np.float64) - eyes[0]).tolist()
    distance = math.hypot(across, down)
    if mouth is not None:
        distance = max(distance, float(np.hypot(*(np.asarray(mouth, np.float64) - middle))) / EYES_TO_MOUTH)
    scale = convention.eye_distance * size / max(distance, 1e-3)
    if scale < 1.0:
        height, width = picture.shape[:2]
        smaller = max(1, round(width * scale)), max(1, round(height * scale))
        picture = cv2.resize(picture, smaller, interpolation=cv2.INTER_AREA)
        # Pixel centres: x in the large picture is (x + 0.5) * factor - 0.5 in the small one.
        middle = (middle + 0.5) * (smaller[0] / width, smaller[1] / height) - 0.5
        scale = scale * width / smaller[0]
    tilt = math.atan2(down, across)
    cos, sin = math.cos(tilt) * scale, math.sin(tilt) * scale
    turn = np.array([[cos, sin], [-sin, cos]])
    where = np.array([0.5 * size - 0.5, convention.eye_height * size - 0.5])
    matrix = np.column_stack([turn, where - turn @ middle])
    flags = cv2.INTER_LINEAR if scale <= 1.0 else cv2.INTER_CUBIC
    return cv2.warpAffine(picture, matrix, (size, size), flags=flags, borderMode=cv2.BORDER_REFLECT_101)
