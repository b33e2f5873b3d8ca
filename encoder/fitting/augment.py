"""Random changes to training faces, as a pure function of a table of uniform numbers.

Face ``i`` in epoch ``e`` is always changed in the same way, whichever batch, process or worker it falls to: the numbers
come from :func:`engine.training.batches.uniforms`, keyed by (seed, epoch, index).
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from encoder.config import AugmentConfig
from encoder.inference.preprocessing import LUMA

# Uniform numbers that one face consumes; columns are named where they are used.
NUM_UNIFORMS = 17


@lru_cache(maxsize=2)
def _noise_bank(device: torch.device) -> Tensor:
    generator = torch.Generator().manual_seed(20131)
    return torch.randn(1024, 1024, generator=generator).to(device)


def _affine(u: Tensor, config: AugmentConfig) -> Tensor:
    """(N, 2, 3) matrices for ``F.affine_grid`` from columns 0-6."""
    signed = 2.0 * u - 1.0
    angle = signed[:, 0] * math.radians(config.rotation)
    zoom = 1.0 + signed[:, 1] * config.scale
    shear = signed[:, 2] * config.shear
    mirror = torch.where(u[:, 5] < 0.5, -1.0, 1.0) if config.flip else torch.ones_like(zoom)
    cos, sin = torch.cos(angle) / zoom, torch.sin(angle) / zoom
    row_x = torch.stack([mirror * cos, mirror * (shear * cos - sin), 2.0 * signed[:, 3] * config.shift], dim=1)
    row_y = torch.stack([sin, shear * sin + cos, 2.0 * signed[:, 4] * config.shift], dim=1)
    return torch.stack([row_x, row_y], dim=1)


def _erase(faces: Tensor, u: Tensor, probability: float) -> Tensor:
    """Fill one rectangle of 2 % to 25 % of the area with a random grey (Zhong et al., 2020); columns 7-11."""
    size = faces.shape[-1]
    area = 0.02 + 0.23 * u[:, 8]
    aspect = torch.exp((2.0 * u[:, 9] - 1.0) * math.log(3.0))
    height, width = torch.sqrt(area * aspect).clamp(max=1.0), torch.sqrt(area / aspect).clamp(max=1.0)
    top, left = u[:, 10] * (1.0 - height), u[:, 11] * (1.0 - width)
    place = (torch.arange(size, device=faces.device) + 0.5) / size
    rows = (place[None] >= top[:, None]) & (place[None] < (top + height)[:, None])
    columns = (place[None] >= left[:, None]) & (place[None] < (left + width)[:, None])
    hole = rows[:, None, :, None] & columns[:, None, None, :] & (u[:, 7] < probability)[:, None, None, None]
    fill = ((u[:, 8] + u[:, 10] + u[:, 11]) % 1.0)[:, None, None, None]
    return torch.where(hole, fill.to(faces.dtype), faces)


def _blur(faces: Tensor, share: Tensor) -> Tensor:
    kernel = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0], device=faces.device) / 16.0
    soft = F.pad(faces, (2, 2, 2, 2), mode="replicate")
    planes = soft.flatten(0, 1).unsqueeze(1)
    soft = F.conv2d(F.conv2d(planes, kernel.view(1, 1, 1, 5)), kernel.view(1, 1, 5, 1)).view_as(faces)
    return torch.lerp(faces, soft, share[:, None, None, None])


def _noise(faces: Tensor, u: Tensor, deviation: Tensor) -> Tensor:
    """Add a window of a fixed noise bank per face; columns 14-15 place the window."""
    bank = _noise_bank(faces.device)
    size = faces.shape[-1]
    span = bank.shape[0] - size
    offset = torch.arange(size, device=faces.device)
    rows = (u[:, 14] * span).long()[:, None] + offset
    columns = (u[:, 15] * span).long()[:, None] + offset
    return faces + deviation[:, None, None, None] * bank[rows[:, :, None], columns[:, None, :]].unsqueeze(1)


def _saturate(faces: Tensor, factor: Tensor) -> Tensor:
    """Move every colour away from its grey (factor above 1) or towards it; column 16."""
    luma = torch.tensor(LUMA, dtype=faces.dtype, device=faces.device).view(1, 3, 1, 1)
    grey = (faces * luma).sum(dim=1, keepdim=True)
    return grey + (faces - grey) * factor[:, None, None, None]


def augment(faces: Tensor, u: Tensor, config: AugmentConfig) -> Tensor:
    """Changed copies of (N, 1, S, S) ``faces`` in [0, 1], differentiable with respect to them, by (N, ``NUM_UNIFORMS``)
    numbers in [0, 1).

    (N, 3, S, S), red, green and blue, are the only ones that have a saturation.
    """
    with torch.autocast(faces.device.type, enabled=False):
        return _augment(faces, u, config)


def _augment(faces: Tensor, u: Tensor, config: AugmentConfig) -> Tensor:
    grid = F.affine_grid(_affine(u, config), list(faces.shape), align_corners=False)
    faces = F.grid_sample(faces, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    signed = 2.0 * u[:, 6:7, None, None] - 1.0
    gain = 1.0 + (2.0 * u[:, 12, None, None, None] - 1.0) * config.contrast
    mean = faces.mean(dim=(1, 2, 3), keepdim=True)
    faces = (faces - mean) * gain + mean + signed * config.brightness
    if config.saturation and faces.shape[1] == 3:
        faces = _saturate(faces, 1.0 + (2.0 * u[:, 16] - 1.0) * config.saturation)
    if config.blur:
        faces = _blur(faces, u[:, 13] * config.blur)
    if config.noise:
        faces = _noise(faces, u, u[:, 12] * u[:, 6] * config.noise)
    if config.erase:
        faces = _erase(faces, u, config.erase)
    return faces.clamp(0.0, 1.0)
