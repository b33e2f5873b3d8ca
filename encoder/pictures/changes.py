"""Small changes of a cropped face that no reader should mind: moved, scaled, turned, stored badly, made small.

Every change is one fixed list of variants, so that two readers, today and next year, are asked the same. A face is changed at
its own size. What comes in from beyond its border is the face's own border, mirrored.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]
SHIFT, SCALE, ROLL_DEGREES, JPEG_QUALITY = 0.08, 0.08, 10.0, 40


def moved(face: Pixels, *, right: float = 0.0, down: float = 0.0, larger: float = 0.0, turned: float = 0.0) -> Pixels:
    """A square face, (S, S) or (S, S, 3) uint8, whose content is moved; bicubic, of the same shape.

    Args:
        right, down: shares of the side.
        larger: share by which it grows about the middle of the picture; negative: it shrinks.
        turned: degrees about the middle, clockwise.
    """
    side = face.shape[0]
    border = min(side - 1, math.ceil(0.25 * side) + 3)
    around = [(border, border)] * 2 + [(0, 0)] * (face.ndim - 2)
    image = Image.fromarray(np.pad(face, around, mode="reflect"))
    # Pillow asks for each place of the result where it comes from; the middle of its first pixel lies at one half.
    angle, factor = math.radians(turned), 1.0 / (1.0 + larger)
    along, across = math.cos(angle) * factor, math.sin(angle) * factor
    x, y = -(0.5 + right) * side, -(0.5 + down) * side
    middle = border + side / 2
    matrix = (along, across, middle + along * x + across * y, -across, along, middle - across * x + along * y)
    return np.asarray(image.transform((side, side), Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC))


def stored_as_jpeg(face: Pixels, quality: int = JPEG_QUALITY) -> Pixels:
    """The face after a JPEG file of this quality (1 to 95)."""
    file = io.BytesIO()
    Image.fromarray(face).save(file, format="JPEG", quality=quality)
    return np.asarray(Image.open(file))


def halved(face: Pixels) -> Pixels:
    """The face made half as large and again as large as it was; antialiased, then bicubic."""
    height, width = face.shape[:2]
    small = Image.fromarray(face).resize((max(1, width // 2), max(1, height // 2)), Image.Resampling.LANCZOS)
    return np.asarray(small.resize((width, height), Image.Resampling.BICUBIC))


# What each change is called, and its variants.
CHANGES: Mapping[str, tuple[Callable[[Pixels], Pixels], ...]] = {
    "shift": (
        lambda face: moved(face, right=SHIFT),
        lambda face: moved(face, right=-SHIFT),
        lambda face: moved(face, down=SHIFT),
        lambda face: moved(face, down=-SHIFT),
    ),
    "scale": (lambda face: moved(face, larger=SCALE), lambda face: moved(face, larger=-SCALE)),
    "roll": (lambda face: moved(face, turned=ROLL_DEGREES), lambda face: moved(face, turned=-ROLL_DEGREES)),
    "JPEG": (stored_as_jpeg,),
    "half size": (halved,),
}
CHANGE_TITLES: Mapping[str, str] = {
    "shift": f"moved by {100 * SHIFT:.0f} % of the side, four ways",
    "scale": f"{100 * SCALE:.0f} % larger, {100 * SCALE:.0f} % smaller",
    "roll": f"turned by {ROLL_DEGREES:.0f} degrees, both ways",
    "JPEG": f"JPEG of quality {JPEG_QUALITY}",
    "half size": "half size and back",
}
