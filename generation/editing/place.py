"""Which face of a picture is edited, and which part of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from configs.cli import UserError
from configs.values import refuse
from encoder.config import CropConfig
from encoder.detection.align import Placement, face_square
from encoder.detection.face import DetectedFace, Detector
from encoder.detection.registry import create_detector
from generation.regions import Box, parse_regions, region_boxes

MIN_SIDE = 32
# A picture is an aligned crop as it is where the one that would be cut is the same to these shares of its side, and to this
# tilt: faces that were made, and those of aligned data sets, whose eyes lie where they should to within the detector's error.
_SAME_SIDE, _SAME_PLACE, _SAME_TILT_DEGREES = 0.2, 0.1, 8.0


def find_faces(picture: NDArray[np.uint8], detector: Detector | str, number: int) -> list[DetectedFace]:
    """All faces, the largest first, once it is sure that there is one of this number.

    Raises:
        UserError: there is not, or it is smaller than 32 pixels.
    """
    found = (create_detector(detector) if isinstance(detector, str) else detector).detect(picture)
    if not found:
        raise UserError("no face found; choose a picture in which it is larger and clearer, or another detector")
    if not 1 <= number <= len(found):
        raise UserError(f"face {number}: the picture has {len(found)}, counted from 1, the largest")
    side = face_square(found[number - 1]).side
    if side < MIN_SIDE:
        raise UserError(f"face {number}: measures {side:.0f} pixels, and {MIN_SIDE} are needed")
    return found


def place_of(face: DetectedFace, crop: CropConfig | None, shape: tuple[int, ...]) -> Placement:
    """The square that is worked on, in a picture of (height, width): all of it, where the picture is such a crop already.

    To cut an aligned face once more would take pixels from it, and add others beyond its border.
    """
    place, (height, width) = face_square(face, crop), shape
    if crop is None or height != width:
        return place
    middle = (width - 1) / 2
    shift = max(abs(place.x - middle), abs(place.y - middle)) / width
    same = abs(place.side / width - 1.0) <= _SAME_SIDE and shift <= _SAME_PLACE and abs(place.tilt) <= _SAME_TILT_DEGREES
    return Placement.of_all(width) if same else place


def boxes_of(region: str | Sequence[float], place: Placement, face: DetectedFace) -> tuple[Box, ...]:
    """The boxes of a region, as shares of the crop at ``place``; of parts, or of a box in pixels of the picture.

    Raises:
        UserError: it is neither.
    """
    if isinstance(region, str):
        marks = face.landmarks
        points = None if marks is None or len(marks) != 68 else place.to_crop(marks)
        eyes, mouth = (
            None if point is None else place.to_crop(point[None])[0].tolist()
            for point in (None if face.eyes is None else face.eyes.mean(axis=0), face.mouth)
        )
        return region_boxes(parse_regions(region), points, eyes=eyes, mouth=mouth)
    try:
        x, y, w, h = (float(value) for value in region)
    except (TypeError, ValueError):
        refuse("region", "parts such as 'mouth,eyes', or a box (x, y, width, height) in pixels", region)
    if w <= 0 or h <= 0:
        raise UserError(f"region: a box is x, y, width, height in pixels, got {tuple(region)}")
    corners = place.to_crop(np.array([(x, y), (x + w, y), (x, y + h), (x + w, y + h)]))
    (left, top), (right, bottom) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
    return ((left, top, right, bottom),)
