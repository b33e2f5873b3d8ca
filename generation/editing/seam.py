"""A changed face back into its picture: the crop's geometry undone, the seam soft, colour changed only by what a model paints."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from encoder.detection.align import Placement
from vqvae.colour.degradation import degrade

Grey = NDArray[np.float32]
Layer = NDArray[np.float32]  # (S, S) luma or (S, S, 3) RGB

# In pixels of the crop (64 a side). The seam fades over about twice its blur; lighting is what a wide blur leaves.
_SEAM_BLUR, _LIGHT_BLUR, _CHANGE_BLUR, _BORDER = 2.0, 7.0, 1.5, 5.0
# Of the ways to degrade a photograph the mildest: neither blurred nor noisy nor compressed.
_AS_FER = np.array([0.5, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0])
# Change of luma, of 255, at which the old detail (skin, lashes, the old lips) has faded to 1/e.
_DETAIL_FADES = 20.0


def as_web_picture(crop: Grey, size: int) -> Grey:
    """(S, S) luma as the encoder of a tokenizer for photographs sees faces, (size, size): 48 pixels, enlarged again."""
    return degrade(crop.round().astype(np.uint8), _AS_FER, size).astype(np.float32)


def luma(rgb: NDArray[np.generic]) -> Grey:
    """(…, H, W) of (…, H, W, 3) RGB, 0 to 255 (ITU-R BT.601, as Pillow turns pictures grey); grey (H, W) as it is."""
    if rgb.shape[-1] != 3:
        return rgb.astype(np.float32)
    return rgb.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)


def soft_mask(tokens: NDArray[np.bool_], size: int) -> Grey:
    """(size, size) weights in [0, 1] of a (grid, grid) mask of changed tokens: soft at its edge, 0 at the crop's border."""
    # The token under each pixel's middle: a grid need not divide the face.
    token = (2 * np.arange(size) + 1) * len(tokens) // (2 * size)
    wide = tokens[np.ix_(token, token)].astype(np.float32)
    scale = size / 64
    mask = np.clip(1.6 * blur(wide, _SEAM_BLUR * scale), 0, 1)
    inward = np.minimum(np.arange(size) + 0.5, size - 0.5 - np.arange(size)) / (_BORDER * scale)
    ramp = np.clip(inward, 0, 1)
    return mask * np.minimum.outer(ramp, ramp).astype(np.float32)


def paste(
    picture: NDArray[np.uint8], place: Placement, crop: Layer, before: Layer, after: Layer, weight: Grey
) -> NDArray[np.uint8]:
    """The picture with a changed expression.

    Lighting and contrast that the model did not catch are taken from the picture, and so is its fine detail, except where
    the face has changed: the old mouth must not shine through the new one, nor its colour.

    Args:
        picture: (H, W, 3) uint8 RGB.
        crop, before, after: the crop, 0 to 255: as cut out, as the model repeats it unchanged, as it changed it. (S, S) luma
            of a model that paints grey: red, green and blue move together, so colours keep their chroma. (S, S, 3) RGB of
            one that paints colour.
        weight: (S, S), 1 where the change counts in full; see :func:`soft_mask`.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    scale = len(crop) / 64
    after = after + _spread(blur(luma(before) - luma(after), _LIGHT_BLUR * scale), after)
    light = blur(crop - before, _LIGHT_BLUR * scale)
    kept = np.exp(-blur(np.abs(luma(after) - luma(before)), _CHANGE_BLUR * scale) / _DETAIL_FADES)
    left, top, right, bottom = _window(picture, place)
    part = picture[top:bottom, left:right]
    painted, repeated, share, detail = (
        _warp(layer, place, (left, top), part.shape[:2]) for layer in (after + light, before + light, weight, kept)
    )
    old = luma(part) if after.ndim == 2 else part.astype(np.float32)
    new = painted + _spread(detail, old) * (old - repeated)
    moved = part + _spread(_spread(share.clip(0, 1), old) * (new - old), part)
    result = picture.copy()
    result[top:bottom, left:right] = moved.round().clip(0, 255).astype(np.uint8)
    return result


def blur(image: Layer, sigma: float) -> Layer:
    """(H, W) or (H, W, C) under a Gaussian of ``sigma`` pixels that ends at three of them, its border repeated."""
    import cv2

    width = 2 * max(1, math.ceil(3 * sigma)) + 1
    return np.asarray(cv2.GaussianBlur(image, (width, width), sigma, borderType=cv2.BORDER_REPLICATE), np.float32)


def _spread(layer: Grey, like: NDArray[np.generic]) -> Layer:
    """(H, W) as it is, or over the channels where ``like`` has some."""
    return layer if like.ndim == layer.ndim else layer[..., None]


def _window(picture: NDArray[np.uint8], place: Placement) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of what the crop touches."""
    angle = math.radians(place.tilt)
    reach = place.side / 2 * (abs(math.cos(angle)) + abs(math.sin(angle))) + 1
    right, bottom = min(picture.shape[1], math.ceil(place.x + reach)), min(picture.shape[0], math.ceil(place.y + reach))
    return max(0, math.floor(place.x - reach)), max(0, math.floor(place.y - reach)), right, bottom


def _warp(layer: Layer, place: Placement, corner: tuple[int, int], shape: tuple[int, ...]) -> Layer:
    """A layer of the crop on the pixels of a window of the picture, whose corner is (left, top)."""
    if layer.ndim == 3:
        channels = [np.ascontiguousarray(channel) for channel in np.moveaxis(layer, -1, 0)]
        return np.stack([_warp(channel, place, corner, shape) for channel in channels], axis=-1)
    zoom = len(layer) / place.side
    cos, sin = zoom * math.cos(math.radians(place.tilt)), zoom * math.sin(math.radians(place.tilt))
    x, y, half = place.x - corner[0], place.y - corner[1], len(layer) / 2
    matrix = (cos, sin, half - cos * x - sin * y, -sin, cos, half + sin * x - cos * y)
    warped = Image.fromarray(layer).transform((shape[1], shape[0]), Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC)
    return np.asarray(warped, np.float32)
