"""Sharp faces made as poor as FER-2013's: small, blurred by enlarging, noisy, compressed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Uniform numbers that one face consumes: pixels, quality, noise, then the seed of the noise itself.
NUM_UNIFORMS = 4


def degrade(face: NDArray[np.uint8], u: NDArray[np.floating], *, smallest: int = 20, largest: int = 48) -> NDArray[np.uint8]:
    """A poor copy of an (S, S) uint8 grey ``face``, of the same size.

    It is shrunk to between ``smallest`` and ``largest`` pixels by area, noise of up to 8 grey levels is added, and it is
    stored as a JPEG file of quality 25 to 90, by ``u``: (``NUM_UNIFORMS``,) numbers in [0, 1).
    """
    import cv2

    size = face.shape[0]
    side = min(size, round(smallest + float(u[0]) * (largest - smallest)))
    small = cv2.resize(face, (side, side), interpolation=cv2.INTER_AREA)
    noise = np.random.default_rng(int(float(u[3]) * 2**32)).standard_normal((side, side)) * (8.0 * float(u[2]) ** 2)
    noisy = np.clip(small + noise, 0, 255).round().astype(np.uint8)
    stored = cv2.imencode(".jpg", noisy, [cv2.IMWRITE_JPEG_QUALITY, round(25 + 65 * float(u[1]))])[1]
    opened = cv2.imdecode(stored, cv2.IMREAD_GRAYSCALE)
    return np.asarray(cv2.resize(opened, (size, size), interpolation=cv2.INTER_CUBIC))
