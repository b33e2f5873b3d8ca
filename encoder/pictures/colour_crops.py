"""Cropped faces in colour, of any sizes, as the square batch that other people's networks take."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from configs.cli import UserError


def colour_crops(faces: Sequence[NDArray[np.uint8]], size: tuple[int, int]) -> NDArray[np.uint8]:
    """(N, height, width, 3) uint8 RGB of ``size`` (height, width), from (N, H, W, 3) or (N, H, W) uint8 or a list of such
    pictures of any sizes.

    Three channels are red, green, blue. Of a picture that is not square the central square is used. Raises UserError:
    something else.
    """
    height, width = size
    batch = np.zeros((len(faces), height, width, 3), np.uint8)
    for index, face in enumerate(faces):
        pixels = np.asarray(face)
        if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] != 3):
            raise UserError(f"face {index}: need (H, W, 3) or (H, W) uint8, got {pixels.shape} {pixels.dtype}")
        if 0 in pixels.shape:
            raise UserError(f"face {index}: it is empty, {pixels.shape}")
        side = min(pixels.shape[:2])
        top, left = (pixels.shape[0] - side) // 2, (pixels.shape[1] - side) // 2
        square = Image.fromarray(np.ascontiguousarray(pixels[top : top + side, left : left + side])).convert("RGB")
        batch[index] = np.asarray(square.resize((width, height), Image.Resampling.BILINEAR))
    return batch
