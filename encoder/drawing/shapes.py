"""Soft shapes painted on a batch of pictures at once: the few operations every part of a drawn face is made of.

Everything is plain float32 arithmetic on (n, rows, columns) arrays; no transcendental functions, whose last bit depends
on the machine and on the position in the array. Bumps are (1 - q)² instead of Gaussians for the same reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from encoder.drawing.geometry import Geometry
    from encoder.drawing.traits import Traits, View

Plane = NDArray[np.float32]  # (n, rows, columns), or (n, 1, 1) for one number per face


def clamp(values: Plane) -> Plane:
    """Clip to [0, 1] in place."""
    np.maximum(values, 0.0, out=values)
    np.minimum(values, 1.0, out=values)
    return values


def cover(depth: NDArray[np.floating[Any]], pixels: Plane) -> Plane:
    """Share of a pixel inside a shape; ``depth``: how far inside (head units), ``pixels``: pixels per head unit."""
    share = depth * pixels
    share += 0.5
    return clamp(share)


def bump(squared: Plane) -> Plane:
    """1 at 0, falling smoothly to 0 where ``squared`` (a squared distance over a squared radius) reaches 1."""
    height = np.maximum(1.0 - squared, 0.0)
    height *= height
    return height


def stroke(distance: Plane, half_width: Plane | float, pixels: Plane) -> Plane:
    """A soft line; one thinner than a pixel gets paler instead of breaking up."""
    width = np.maximum(half_width, 0.9 / pixels)
    ratio = distance / width
    ratio *= ratio
    return bump(ratio) * np.minimum(half_width / width, 1.0)


def spot(dx: Plane, dy: Plane, radius_x: Plane | float, radius_y: Plane | float) -> Plane:
    """A soft elliptic spot."""
    return bump(_squared_radius(dx, dy, radius_x, radius_y))


def ellipse_depth(dx: Plane, dy: Plane, radius_x: Plane | float, radius_y: Plane | float) -> Plane:
    """Approximate depth inside an ellipse, exact on its outline up to its flattening."""
    return (1.0 - _squared_radius(dx, dy, radius_x, radius_y)) * (0.5 * np.minimum(radius_x, radius_y))


def _squared_radius(dx: Plane, dy: Plane, radius_x: Plane | float, radius_y: Plane | float) -> Plane:
    across, down = dx * (1.0 / radius_x), dy * (1.0 / radius_y)
    across *= across
    down *= down
    return across + down


class Columns:
    """Some rows of Traits, View or Geometry, as (n, 1, 1) planes under the same names."""

    def __init__(self, source: Traits | View | Geometry, part: slice) -> None:
        for name, column in vars(source).items():
            setattr(self, name, column[part].astype(np.float32)[:, None, None])

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...


@dataclass(frozen=True)
class Area:
    """A rectangle of the pictures with the coordinates of its pixels; painting changes the pictures in place.

    Attributes:
        image: grey levels.
        x, y: position on the head in head units, in the plane of the picture.
        u, v: position on the face, which yaw and pitch slide over the head; ``a`` is abs(u).
        pixels: (n, 1, 1) pixels per head unit.
    """

    image: Plane
    x: Plane
    y: Plane
    u: Plane
    v: Plane
    a: Plane
    pixels: Plane

    def cut(self, top: float, bottom: float, side: float = 1.0) -> Area:
        """The part between heights ``top`` and ``bottom`` of the frame (-1..1) and within ``side`` of its middle."""
        size = self.image.shape[1]

        def pixel(position: float) -> int:
            return min(max(round((position + 1) * size / 2), 0), size)

        window = (slice(None), slice(pixel(top), pixel(bottom)), slice(pixel(-side), pixel(side)))
        image, x, y, u, v, a = (plane[window] for plane in (self.image, self.x, self.y, self.u, self.v, self.a))
        return Area(image, x, y, u, v, a, self.pixels)

    def paint(self, mask: Plane, level: Plane | float) -> None:
        """Lay a grey level over the pictures where ``mask`` (which is used up) is 1."""
        step = level - self.image
        step *= mask
        np.add(self.image, step, out=self.image)

    def shade(self, amount: Plane) -> None:
        """Darken by ``amount`` (0: not at all, 1: black; negative: lighten); ``amount`` is used up."""
        np.subtract(1.0, amount, out=amount)
        np.multiply(self.image, amount, out=self.image)
