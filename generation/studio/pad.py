"""The pad of emotions: seven corners of a heptagon; a point inside it is a mixture of them.

The shares are Wachspress's generalised barycentric coordinates (Meyer, Lee, Barr and Desbrun, 2002): no share is negative, they
sum to 1, a corner is its emotion alone, and the corners weighted by their shares give the point again. ``assets/pad.js`` shows
them while the point is dragged; what is ordered is computed here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from encoder.emotions import EMOTION_NAMES

Point = tuple[float, float]
# Around the circle, from the top clockwise: what is often mistaken for one another stands side by side.
AROUND = ("happiness", "surprise", "fear", "disgust", "anger", "sadness", "neutral")
CORNERS: tuple[Point, ...] = tuple(
    (math.sin(2 * math.pi * number / len(AROUND)), -math.cos(2 * math.pi * number / len(AROUND))) for number in range(len(AROUND))
)
# A share below this is nobody's wish, but a hand's.
_LEAST = 0.03


def inside(point: Point) -> Point:
    """The point, or where the way from the centre to it leaves the heptagon; x to the right and y down, radius 1."""
    x, y = point
    far = 1.0
    for (ax, ay), (bx, by) in pairwise((*CORNERS, CORNERS[0])):
        normal = (by - ay, ax - bx)
        edge = normal[0] * ax + normal[1] * ay
        far = max(far, (normal[0] * x + normal[1] * y) / edge)
    return x / far, y / far


def shares(point: Point) -> dict[str, float]:
    """The mixture at a point, in the order of :data:`encoder.emotions.EMOTION_NAMES`; it sums to 1.

    A point outside stands for the nearest one towards the centre. Shares below 0.03 are left out.
    """
    at, number = inside(point), len(CORNERS)
    # Products in place of quotients: on an edge the quotients would be infinite.
    areas = [_area(at, CORNERS[i], CORNERS[(i + 1) % number]) for i in range(number)]
    weights = [
        math.prod(max(0.0, areas[j]) for j in range(number) if j not in (i, (i - 1) % number)) for i in range(number)
    ]  # all corners of a regular heptagon are alike, so what Wachspress gives them besides is one factor
    kept = [weight if weight >= _LEAST * sum(weights) else 0.0 for weight in weights]
    by_name = dict(zip(AROUND, (weight / sum(kept) for weight in kept), strict=True))
    return {name: by_name[name] for name in EMOTION_NAMES}


def place(mixture: Sequence[float]) -> Point:
    """Where a mixture, in enum order, lies on the pad; exactly there for those that :func:`shares` gives whole."""
    by_name = dict(zip(EMOTION_NAMES, mixture, strict=True))
    return (
        sum(by_name[name] * corner[0] for name, corner in zip(AROUND, CORNERS, strict=True)),
        sum(by_name[name] * corner[1] for name, corner in zip(AROUND, CORNERS, strict=True)),
    )


def in_words(mixture: dict[str, float]) -> str:
    """``"fear:0.7,surprise:0.3"``, or one name alone; shares to two digits, the largest first."""
    found = sorted(((name, share) for name, share in mixture.items() if share >= 0.005), key=lambda each: -each[1])
    return found[0][0] if len(found) == 1 else ",".join(f"{name}:{share:.2f}" for name, share in found)


def _area(a: Point, b: Point, c: Point) -> float:
    return (b[0] - a[0]) * (c[1] - a[1]) - (c[0] - a[0]) * (b[1] - a[1])
