"""Colour as brightness (luma) and two differences from it (chroma), as JPEG has it (ITU-R BT.601, full range)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from encoder.inference.preprocessing import LUMA

_RED, _GREEN, _BLUE = LUMA
_CB, _CR = 2.0 * (1.0 - _BLUE), 2.0 * (1.0 - _RED)


def luma(faces: Tensor) -> Tensor:
    """(N, 3, H, W) red, green, blue in [0, 1] to (N, 1, H, W) in [0, 1]; grey faces as they are."""
    if faces.shape[1] == 1:
        return faces
    return _RED * faces[:, :1] + _GREEN * faces[:, 1:2] + _BLUE * faces[:, 2:]


def chroma(faces: Tensor) -> Tensor:
    """(N, 3, H, W) in [0, 1] to Cb and Cr, (N, 2, H, W) in [-0.5, 0.5]; zero is grey."""
    y = luma(faces)
    return torch.cat([(faces[:, 2:] - y) / _CB, (faces[:, :1] - y) / _CR], dim=1)


def to_rgb(y: Tensor, cb_cr: Tensor) -> Tensor:
    """The inverse of :func:`luma` and :func:`chroma`: (N, 1, H, W) and (N, 2, H, W) to (N, 3, H, W), not clamped."""
    blue, red = y + _CB * cb_cr[:, :1], y + _CR * cb_cr[:, 1:]
    return torch.cat([red, (y - _RED * red - _BLUE * blue) / _GREEN, blue], dim=1)


def shrink(faces: Tensor, side: int) -> Tensor:
    """(N, C, H, H) to (N, C, side, side), each pixel the mean of those it covers; ``side`` divides H."""
    times = faces.shape[-1] // side
    return F.avg_pool2d(faces, times) if times > 1 else faces
