"""A sharp photograph as a small grey web picture: what FER-2013's 48-pixel faces went through, in random amounts.

The order is that of second-hand pictures (Zhang et al., 2021, "Designing a practical degradation model", in its simplest
form): shrunk, blurred, noisy, compressed.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

# Uniform numbers that one face consumes.
NUM_UNIFORMS = 8
# Sides in pixels between which a face is shrunk; FER-2013 has 48.
SMALLEST, LARGEST = 40, 56
MOST_NOISE = 0.02  # standard deviation, of a range of 1
_BANK = 256


@lru_cache(maxsize=1)
def _noise_bank() -> NDArray[np.float32]:
    return np.random.default_rng(20131).standard_normal((_BANK, _BANK), np.float32)


def degrade(grey: NDArray[np.uint8], u: NDArray[np.floating], side: int) -> NDArray[np.uint8]:
    """One face (H, H) uint8 at a web picture's quality, (side, side) uint8.

    Args:
        u: (``NUM_UNIFORMS``,) numbers in [0, 1) that choose how: the same ones give the same picture.
        side: of the result, to which the small picture is enlarged again.
    """
    import cv2

    small_side = min(SMALLEST + int(u[0] * (LARGEST - SMALLEST + 1)), side)
    small = cv2.resize(grey, (small_side, small_side), interpolation=cv2.INTER_AREA).astype(np.float32)
    if u[1] < 0.5:
        small = cv2.GaussianBlur(small, (5, 5), 0.4 + 0.6 * float(u[2]), borderType=cv2.BORDER_REFLECT_101)
    top, left = (int(u[column] * (_BANK - small_side)) for column in (4, 5))
    small += 255.0 * MOST_NOISE * float(u[3]) * _noise_bank()[top : top + small_side, left : left + small_side]
    picture = small.round().clip(0, 255).astype(np.uint8)
    if u[6] < 0.6:
        _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 40 + int(56 * u[7])])
        picture = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)
    return cv2.resize(picture, (side, side), interpolation=cv2.INTER_CUBIC)


def luma(photographs: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(N, H, W, 3) uint8 red, green, blue to (N, H, W) uint8."""
    import cv2

    return np.stack([cv2.cvtColor(photograph, cv2.COLOR_RGB2GRAY) for photograph in photographs])
