"""Which tokens carry the expression: brows, eyes and mouth of an aligned face, as masks over the token grid."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from configs.cli import UserError
from configs.explain import nearest

Box = tuple[float, float, float, float]  # left, top, right, bottom as shares of the crop

# Where the parts lie in a crop made by encoder.detection.align: eyes at 0.38 of the height and 0.38 of the width apart, mouth
# 0.40 below them. Wide enough for what moves with them: the folds beside the mouth, the chin under a dropped jaw.
FIXED: dict[str, tuple[Box, ...]] = {
    "brows": ((0.13, 0.17, 0.87, 0.34),),
    "eyes": ((0.13, 0.28, 0.87, 0.50),),
    "nose": ((0.34, 0.40, 0.66, 0.68),),
    "mouth": ((0.16, 0.63, 0.84, 1.00),),
    "all": ((0.0, 0.0, 1.0, 1.0),),
}
EXPRESSION = ("brows", "eyes", "mouth")
_EYES, _MOUTH = (0.5, 0.383), (0.5, 0.783)
_LARGEST_MOVE = 0.125

# Of each part its points in the iBUG 300-W order, and what moves with it: so much of the crop around them to the sides, above
# and below.
_POINTS: dict[str, tuple[tuple[tuple[int, int], ...], tuple[float, float, float]]] = {
    "brows": (((17, 22), (22, 27)), (0.06, 0.08, 0.06)),
    "eyes": (((36, 42), (42, 48)), (0.07, 0.05, 0.08)),
    "nose": (((29, 36),), (0.04, 0.04, 0.04)),
    "mouth": (((48, 68),), (0.12, 0.08, 0.12)),
}
# A token belongs to a region that covers at least this share of its square.
_COVERED = 0.25


def parse_regions(text: str) -> tuple[str, ...]:
    """``"mouth,eyes"`` as names of parts.

    Raises:
        UserError: another name; the message gives the nearest known one.
    """
    names = tuple(part.strip().lower() for part in text.split(","))
    for name in names:
        if name not in FIXED:
            near = nearest(name, FIXED)
            hint = f"did you mean {near!r}? " if near else ""
            raise UserError(f"unknown region {name!r}: {hint}known are {', '.join(FIXED)}, or a box x,y,w,h in pixels")
    return names


def region_boxes(
    names: Sequence[str],
    landmarks: NDArray[np.floating] | None = None,
    *,
    eyes: Sequence[float] | None = None,
    mouth: Sequence[float] | None = None,
) -> tuple[Box, ...]:
    """Boxes of the named parts.

    Args:
        landmarks: (68, 2) as shares of the crop; without them the parts are taken to be at their usual places.
        eyes, mouth: x and y of the middle of the eyes and of the mouth, where these are known: they move the usual places
            of brows and eyes, and of the mouth, by at most an eighth.
    """
    moves = {"brows": _move(eyes, _EYES), "eyes": _move(eyes, _EYES), "mouth": _move(mouth, _MOUTH)}
    boxes: list[Box] = []
    for name in names:
        if landmarks is None or name not in _POINTS:
            across, down = moves.get(name, (0.0, 0.0))
            boxes += [(x0 + across, y0 + down, x1 + across, y1 + down) for x0, y0, x1, y1 in FIXED[name]]
            continue
        ranges, (side, above, below) = _POINTS[name]
        for start, stop in ranges:
            left, top = landmarks[start:stop].min(axis=0).tolist()
            right, bottom = landmarks[start:stop].max(axis=0).tolist()
            boxes.append((left - side, top - above, right + side, bottom + below))
    return tuple(boxes)


def _move(found: Sequence[float] | None, usual: tuple[float, float]) -> tuple[float, float]:
    across, down = np.clip(np.subtract(usual if found is None else found, usual), -_LARGEST_MOVE, _LARGEST_MOVE).tolist()
    return across, down


def token_mask(boxes: Sequence[Box], grid: int) -> Tensor:
    """(grid * grid,) bool: the tokens that the boxes cover.

    Raises:
        UserError: the boxes cover no token by enough.
    """
    edges = np.arange(grid + 1) / grid
    covered = np.zeros((grid, grid))
    for left, top, right, bottom in boxes:
        across = (np.minimum(right, edges[1:]) - np.maximum(left, edges[:-1])).clip(min=0)
        down = (np.minimum(bottom, edges[1:]) - np.maximum(top, edges[:-1])).clip(min=0)
        covered = np.maximum(covered, np.outer(down, across) * grid**2)
    mask = torch.from_numpy((covered >= _COVERED).ravel())
    if not mask.any():
        raise UserError("the region covers no part of the face; make it larger, or name parts: mouth,eyes")
    return mask
