"""Where the 68 landmarks of a drawn face are: known exactly, because the face was drawn from the same numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from encoder.drawing.geometry import HEAD_Y, Geometry
from encoder.drawing.traits import Traits, View

_JAW = np.sin(np.linspace(-1.0, 1.0, 17) * (np.pi / 2))
_NUM_JAW = len(_JAW)


def landmarks(traits: Traits, view: View, geometry: Geometry, size: int) -> NDArray[np.float32]:
    """(N, 68, 2) float32 x and y in pixels of a (size, size) picture, in the order of iBUG 300-W."""
    t, g = traits, geometry
    brow_s = np.linspace(1.0, 0.0, 5)  # from the outer end to the inner one
    brow_x = _row(g.brow_inner_x) + _row(g.brow_span) * brow_s
    brow_y = _row(g.brow_y) + _row(g.brow_slope) * brow_s + _row(g.brow_bend) * brow_s**2
    left_brow, right_brow = _points(-brow_x, brow_y), _points(brow_x, brow_y)[:, ::-1]
    eye = _eye(t, g)
    mirrored = eye * np.array([-1.0, 1.0])
    # Each eye is numbered from the left of the picture: along the upper lid, then back along the lower one.
    left_eye = mirrored[:, [0, 1, 2, 3, 4, 5]]
    right_eye = eye[:, [3, 2, 1, 0, 5, 4]]
    face = np.concatenate([_jaw(t, g), left_brow, right_brow, _nose(t, g), left_eye, right_eye, _mouth(g)], axis=1)
    return _photographed(face, t, view, size)


def _row(column: NDArray[np.float32]) -> NDArray[np.float64]:
    return column[:, None].astype(np.float64)


def _points(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.stack(np.broadcast_arrays(x, y), axis=-1)


def _jaw(t: Traits, g: Geometry) -> NDArray[np.float64]:
    """Seventeen points of the outline that the renderer draws, from ear to ear through the chin."""
    below = 1.0 - _JAW**2
    across = (1.0 - below) / ((1.0 - _row(t.jaw) * below) * (1.0 + 2.0 * _row(t.taper) * below))
    height = HEAD_Y + (_row(g.jaw_length) - HEAD_Y) * np.sqrt(below)
    return _points(_row(t.head_width) * np.sign(_JAW) * np.sqrt(across), height)


def _eye(t: Traits, g: Geometry) -> NDArray[np.float64]:
    """Six points of the eye on the right half: outer corner, upper lid outwards and inwards, inner corner, lower lid."""
    p = np.array([1.0, 0.4, -0.4, -1.0, -0.4, 0.4])
    profile = 1.0 - p**2
    upper = -_row(g.eye_upper) * profile + _row(g.lid_droop) * _row(t.eye_width) * np.maximum(p, -0.3)
    lower = _row(g.eye_lower) * profile
    lid = np.where(np.abs(p) == 1.0, 0.0, np.where(np.arange(6) < 3, upper, lower))
    height = _row(t.eye_height) + _row(t.eye_tilt) * _row(t.eye_width) * p + lid
    return _points(_row(t.eye_spacing) + _row(t.eye_width) * p, height)


def _nose(t: Traits, g: Geometry) -> NDArray[np.float64]:
    """Four points of the bridge, five along the base."""
    top, base = _row(t.eye_height), _row(g.nose_base)
    bridge = top + (base - top) * np.array([0.0, 0.28, 0.56, 0.84])
    across = _row(g.nose_width) * np.array([-1.0, -0.5, 0.0, 0.5, 1.0])
    return np.concatenate([_points(np.zeros((1, 4)), bridge), _points(across, base + np.zeros((1, 5)))], axis=1)


def _mouth(g: Geometry) -> NDArray[np.float64]:
    """Twelve points around the lips, then eight around the opening, both clockwise from the corner on the left."""
    outer_top = _lip(g, np.array([-1.0, -0.62, -0.25, 0.0, 0.25, 0.62, 1.0]), upper=True, outer=True)
    outer_bottom = _lip(g, np.array([0.62, 0.25, 0.0, -0.25, -0.62]), upper=False, outer=True)
    inner_top = _lip(g, np.array([-0.88, -0.35, 0.0, 0.35, 0.88]), upper=True, outer=False)
    inner_bottom = _lip(g, np.array([0.35, 0.0, -0.35]), upper=False, outer=False)
    return np.concatenate([outer_top, outer_bottom, inner_top, inner_bottom], axis=1)


def _lip(g: Geometry, m: NDArray[np.float64], *, upper: bool, outer: bool) -> NDArray[np.float64]:
    """Points at the shares ``m`` of half the mouth's width, on one edge of one lip."""
    profile = 1.0 - m**2
    square = (1.0 + _row(g.mouth_square) * m**2) * profile
    height = _row(g.mouth_y) + _row(g.mouth_corner) * m**2
    if upper:
        bow = profile * (1.0 - 0.35 * (m == 0.0))
        height = height - _row(g.open_upper) * square - (_row(g.lip_upper) * bow if outer else 0.0)
    else:
        height = height + _row(g.open_lower) * square + (_row(g.lip_lower) * profile if outer else 0.0)
    return _points(_row(g.mouth_half) * m, height)


def _photographed(face: NDArray[np.float64], t: Traits, w: View, size: int) -> NDArray[np.float32]:
    """Head units to pixels: the pose turns and slides the face, as ``encoder.drawing.renderer`` does for its pixels."""
    u, v = face[..., 0], face[..., 1]
    # The slide depends on where the point ends up, and converges quickly. The outline does not slide.
    x, slide = u, np.zeros_like(u)
    for _ in range(6):
        slide = np.maximum(1.0 - (x / _row(t.head_width)) ** 2, 0.0)
        slide[:, :_NUM_JAW] = 0.0
        x = u + _row(w.yaw) * slide
    y = v + _row(w.pitch) * slide
    cosine, sine = (1.0 - 0.5 * _row(w.roll) ** 2) / _row(w.scale), _row(w.roll) / _row(w.scale)
    determinant = cosine**2 + sine**2
    across = (cosine * x - sine * y) / determinant + _row(w.shift_x)
    down = (sine * x + cosine * y) / determinant + _row(w.shift_y)
    return (np.stack([across, down], axis=-1) * (size / 2) + (size - 1) / 2).astype(np.float32)
