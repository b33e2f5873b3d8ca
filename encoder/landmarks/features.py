"""From 68 landmarks to the numbers that the landmark models read."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from configs.cli import UserError

NUM_LANDMARKS = 68
# Ends and middles of the brows, lids, tip of the nose, corners and middles of both edges of the lips, chin.
_MEASURED = (17, 19, 21, 22, 24, 26, 37, 41, 44, 46, 33, 48, 51, 54, 57, 62, 66, 8)
_PAIRS = np.array(list(combinations(_MEASURED, 2)))
# The angle at the middle one: brows, corners of the eyes, corners and bows of the mouth, brows over the nose.
_TRIPLES = np.array(
    [
        *[(17, 19, 21), (22, 24, 26), (37, 36, 41), (38, 39, 40), (43, 42, 47), (44, 45, 46)],
        *[(51, 48, 57), (51, 54, 57), (48, 51, 54), (48, 57, 54), (62, 60, 66), (62, 64, 66), (21, 27, 22), (31, 33, 35)],
    ]
)
NUM_FEATURES = 2 * NUM_LANDMARKS + len(_PAIRS) + len(_TRIPLES)


def features(landmarks: NDArray[np.floating]) -> NDArray[np.float32]:
    """(N, ``NUM_FEATURES``) float32 from (N, 68, 2) x and y in pixels, iBUG 300-W.

    Coordinates with the middle of the eyes as origin, the eyes level and one apart; then distances between pairs of the
    telling points, in the same unit; then angles in radians, 0 to pi. Where a face stands, how large it is and how far it
    tilts changes none of them. Raises UserError: another shape, a face without landmarks (NaN), or eyes in one place.
    """
    if landmarks.ndim != 3 or landmarks.shape[1:] != (NUM_LANDMARKS, 2):
        raise UserError(f"landmarks: need (N, {NUM_LANDMARKS}, 2), got {landmarks.shape}")
    missing = np.flatnonzero(~np.isfinite(landmarks).all(axis=(1, 2)))
    if len(missing):
        raise UserError(f"landmarks: {len(missing)} face(s) have none, the first is number {missing[0]}; leave those faces out")
    points = level(landmarks.astype(np.float64))
    first, second = points[:, _PAIRS[:, 0]], points[:, _PAIRS[:, 1]]
    distances = np.linalg.norm(first - second, axis=-1)
    one, middle, other = (points[:, _TRIPLES[:, k]] for k in range(3))
    a, b = one - middle, other - middle
    lengths = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    cosine = (a * b).sum(axis=-1) / np.maximum(lengths, 1e-9)
    angles = np.arccos(np.clip(cosine, -1.0, 1.0))
    return np.concatenate([points.reshape(len(points), -1), distances, angles], axis=1).astype(np.float32)


def level(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, 68, 2) moved, turned and scaled so that the eyes lie at (-0.5, 0) and (0.5, 0)."""
    left, right = points[:, 36:42].mean(axis=1), points[:, 42:48].mean(axis=1)
    across = right - left
    distance = np.linalg.norm(across, axis=1)
    if len(distance) and distance.min() < 1e-3:
        raise UserError(f"landmarks: face number {int(distance.argmin())} has both eyes in one place; leave it out")
    centred = (points - ((left + right) / 2)[:, None]) / distance[:, None, None]
    cos, sin = (across / distance[:, None]).T
    x, y = centred[..., 0], centred[..., 1]
    return np.stack([cos[:, None] * x + sin[:, None] * y, cos[:, None] * y - sin[:, None] * x], axis=-1)
