"""From a face in a picture to its crop: one function, and a convention that is stored with the weights that read the crop.

Without a convention the crop is what FER-2013 would have had: tight, square, eyes level, no black bars. With one
(:class:`encoder.config.CropConfig`) the eyes come to lie in the same place in every crop.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from configs.cli import UserError
from encoder.config import CropConfig
from encoder.detection.face import DetectedFace

# Medians over faces of the FER-2013 test split, as shares of the side of the stored face. First its side over the box
# that a Haar cascade finds in it (see encoder.detection.haar); then what that cascade's eyes and the mean face say.
FER_SCALE = 1.02
_EYE_DISTANCE, _EYE_HEIGHT, _EYES_TO_MOUTH = 0.376, 0.383, 0.40
# Half of these faces tilt by less than 4.4 degrees either way, so turning them would only blur them.
_MIN_TILT_DEGREES = 4.4
# Middle of the eyes to middle of the mouth over the distance of the eyes. As CenterFace finds the faces of FER-2013's valid
# split the median is 0.96, and a quarter have more than this: faces that turn away, whose eyes come together while their
# height stays, and open mouths.
_MOUTH_OVER_EYES = 1.05
# Distance and height of the eyes in the square of a box without landmarks, as shares of its side: the middle between Haar's
# boxes (0.39 at 0.41; 656 faces of FER-2013's valid split, eyes by CenterFace) and dlib's (0.44 at 0.33; 806 faces).
_BOX_EYE_DISTANCE, _BOX_EYE_HEIGHT = 0.41, 0.37


@dataclass(frozen=True)
class Placement:
    """Where a square crop lies in a picture.

    Attributes:
        x, y: centre in pixels of the picture (0 is the middle of the first). side: in pixels. tilt: in degrees, positive
            where the eye on the right of the picture is the lower one.
    """

    x: float
    y: float
    side: float
    tilt: float

    def to_crop(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """(K, 2) pixels of the picture as shares of the crop."""
        cos, sin = math.cos(math.radians(self.tilt)), math.sin(math.radians(self.tilt))
        moved = np.asarray(points, np.float64) - (self.x, self.y)
        return np.stack([moved[:, 0] * cos + moved[:, 1] * sin, moved[:, 1] * cos - moved[:, 0] * sin], axis=1) / self.side + 0.5

    @classmethod
    def of_all(cls, side: int) -> Placement:
        """All of a square picture."""
        return cls((side - 1) / 2, (side - 1) / 2, float(side), 0.0)

    def inside(self, width: int, height: int) -> Placement:
        """The same square moved, and made smaller where it must be, so that all of it lies in a picture of this size."""
        tilt = math.radians(self.tilt)
        spread = abs(math.cos(tilt)) + abs(math.sin(tilt))
        side = min(self.side, min(width, height) / spread)
        half = side * spread / 2 - 0.5
        x, y = (min(max(at, half), end - 1 - half) for at, end in ((self.x, width), (self.y, height)))
        return Placement(x, y, side, self.tilt)


def face_square(face: DetectedFace, crop: CropConfig | None = None, *, scale: float = FER_SCALE) -> Placement:
    """The square that is cut out around a face.

    Eyes and mouth decide where they are known, so that detectors with boxes of another habit give the same crop; the box
    otherwise. The tilt is 0 without landmarks.

    Args:
        crop: where the eyes are to lie; None: where FER-2013 has them, and slight tilts are left alone.
        scale: larger than the default for a wider crop around the same centre: side of the crop over the side of a Haar
            cascade's box.
    """
    if crop is None:
        return _fer_square(face, scale)
    eyes, mouth = face.eyes, face.mouth
    if eyes is None:
        place = _fer_square(face, FER_SCALE)
        middle = place.x, place.y + (_BOX_EYE_HEIGHT - 0.5) * place.side
        distance, tilt = _BOX_EYE_DISTANCE * place.side, 0.0
    else:
        middle = tuple(eyes.mean(axis=0, dtype=np.float64).tolist())
        across, down = (eyes[1].astype(np.float64) - eyes[0]).tolist()
        distance, tilt = math.hypot(across, down), math.atan2(down, across)
        if mouth is not None:
            # A face that turns away keeps its height, one that nods its width: the larger says how big it is.
            distance = max(distance, math.dist(mouth.tolist(), middle) / _MOUTH_OVER_EYES)
    side = max(distance, 1e-3) / crop.eye_distance
    below = (0.5 - crop.eye_height) * side
    x, y = middle[0] - math.sin(tilt) * below, middle[1] + math.cos(tilt) * below
    return Placement(x, y, side * scale / FER_SCALE, math.degrees(tilt))


def _fer_square(face: DetectedFace, scale: float) -> Placement:
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
    return Placement(centre_x, centre_y, side, tilt)


def crop_face(
    picture: NDArray[np.uint8],
    face: DetectedFace,
    size: int,
    crop: CropConfig | None = None,
    *,
    scale: float = FER_SCALE,
    level: bool = True,
) -> NDArray[np.uint8]:
    """Cut one face out of an (H, W) or (H, W, 3) uint8 picture as (size, size) or (size, size, 3).

    Args:
        crop: where the eyes are to lie: the convention of the network that reads the crop; None: FER-2013's square.
            Beyond the border of the picture it is mirrored with a convention; else its outermost pixels are repeated.
        scale: side of the crop over the side of a Haar cascade's box.
        level: turn the face so that its eyes are level, where they are known.

    Raises:
        UserError: the box has no pixel in the picture.
    """
    x, y, w, h = face.box
    height, width = picture.shape[:2]
    if w < 1 or h < 1 or x >= width or y >= height or x + w <= 0 or y + h <= 0:
        raise UserError(f"face box {face.box} lies outside the picture of {width}x{height} pixels")
    place = face_square(face, crop, scale=scale)
    place = place if level else replace(place, tilt=0.0)
    return _cut_fer(picture, place, size) if crop is None else cut_square(picture, place, size)


def cut_square(picture: NDArray[np.uint8], place: Placement, size: int) -> NDArray[np.uint8]:
    """The square as (size, size) or (size, size, 3); what lies outside the picture is mirrored in.

    The picture is brought near the size of the crop by area averaging first, so that one bilinear step after it neither
    blurs nor aliases.
    """
    import cv2

    middle, scale = np.array([place.x, place.y]), size / place.side
    if scale < 1.0:
        height, width = picture.shape[:2]
        # The corners of a turned square lie at 0.71 of its side; mirroring looks no farther into the picture.
        reach = 0.71 * place.side + 4 / scale
        left, top = (int(np.clip(at - reach, 0, end - 1)) for at, end in zip(middle, (width, height), strict=True))
        right, bottom = (int(np.clip(at + reach, 1, end)) for at, end in zip(middle, (width, height), strict=True))
        picture, middle = picture[top : max(bottom, top + 1), left : max(right, left + 1)], middle - (left, top)
        height, width = picture.shape[:2]
        smaller = max(1, round(width * scale)), max(1, round(height * scale))
        picture = cv2.resize(picture, smaller, interpolation=cv2.INTER_AREA)
        # Pixel centres: x in the large picture is (x + 0.5) * factor - 0.5 in the small one.
        middle = (middle + 0.5) * (smaller[0] / width, smaller[1] / height) - 0.5
        scale = scale * width / smaller[0]
    tilt = math.radians(place.tilt)
    cos, sin = math.cos(tilt) * scale, math.sin(tilt) * scale
    turn = np.array([[cos, sin], [-sin, cos]])
    matrix = np.column_stack([turn, 0.5 * size - 0.5 - turn @ middle])
    flags = cv2.INTER_LINEAR if scale <= 1.0 else cv2.INTER_CUBIC
    return cv2.warpAffine(picture, matrix, (size, size), flags=flags, borderMode=cv2.BORDER_REFLECT_101)


def _cut_fer(picture: NDArray[np.uint8], place: Placement, size: int) -> NDArray[np.uint8]:
    """Beyond the border the outermost pixels are repeated; resized once, with antialiasing."""
    centre_x, centre_y, side, tilt = place.x, place.y, place.side, place.tilt
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
    """A (side, side, ...) part of the picture, repeating its border where the part reaches over it."""
    rows = np.arange(top, top + side).clip(0, picture.shape[0] - 1)
    columns = np.arange(left, left + side).clip(0, picture.shape[1] - 1)
    return picture[rows[:, None], columns]
