"""Six turned copies of every training face, with their landmarks: the offline augmentation of earlier systems."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from encoder.data.face_set import FaceSet

COPIES = 6
_AT_ONCE = 512


def sixfold(faces: FaceSet, degrees: float) -> FaceSet:
    """Each face six times, turned by six angles spaced evenly from ``-degrees`` to ``degrees`` (clockwise).

    Copies of a face stand together and carry its label, votes and person; their names end in ``@`` and the angle. What a
    turn brings in from outside is the reflected border; landmarks turn with their image.
    """
    angles = np.linspace(-degrees, degrees, COPIES)
    repeated = faces.subset(np.repeat(np.arange(len(faces)), COPIES))
    turns = np.tile(angles, len(faces))
    return dataclasses.replace(
        repeated,
        images=turn_images(repeated.images, turns),
        ids=tuple(f"{name}@{angle:+g}" for name, angle in zip(repeated.ids, turns, strict=True)),
        landmarks=None if repeated.landmarks is None else turn_points(repeated.landmarks, turns, repeated.images.shape[1]),
        notes=(*repeated.notes, f"every face six times, turned by {-degrees:g} to {degrees:g} degrees"),
    )


def turn_images(images: NDArray[np.uint8], degrees: NDArray[np.floating]) -> NDArray[np.uint8]:
    """(N, S, S) uint8 turned clockwise about the middle by (N,) ``degrees``, bilinear."""
    turned = np.empty_like(images)
    for start in range(0, len(images), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        angle = torch.from_numpy(np.radians(degrees[part]).astype(np.float32))
        cos, sin, zero = torch.cos(angle), torch.sin(angle), torch.zeros_like(angle)
        # The grid says where each pixel comes from: the inverse turn.
        matrix = torch.stack([torch.stack([cos, sin, zero], 1), torch.stack([-sin, cos, zero], 1)], 1)
        grey = torch.from_numpy(images[part]).unsqueeze(1).float()
        grid = F.affine_grid(matrix, list(grey.shape), align_corners=False)
        result = F.grid_sample(grey, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
        turned[part] = result.squeeze(1).round().clamp(0, 255).byte().numpy()
    return turned


def turn_points(points: NDArray[np.floating], degrees: NDArray[np.floating], size: int) -> NDArray[np.float32]:
    """(N, K, 2) x and y in pixels turned clockwise about the middle of a (size, size) image by (N,) ``degrees``."""
    middle = (size - 1) / 2
    x, y = (points[..., axis] - middle for axis in (0, 1))
    angle = np.asarray(degrees)[:, None] * (math.pi / 180)
    cos, sin = np.cos(angle), np.sin(angle)
    return (np.stack([cos * x - sin * y, sin * x + cos * y], axis=-1) + middle).astype(np.float32)
