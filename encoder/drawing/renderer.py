"""Draws a batch of faces: layers of soft shapes from the background to the glasses, then light and camera.

Speed comes from drawing a few dozen faces per pass (they stay in the cache), from windows around the features, and from
the symmetry of the face: both eyes are one shape in the distance from the midline.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from encoder.drawing import features
from encoder.drawing.geometry import HEAD_Y, Geometry
from encoder.drawing.shapes import Area, Columns, Plane, bump, cover, ellipse_depth
from encoder.drawing.traits import Traits, View
from engine.counter_random import uniforms

_FACES_PER_PASS = 16
_TILE = 256  # side of the tile of sensor noise; larger pictures repeat it


def _noise_tile() -> Plane:
    """(_TILE, _TILE) noise of mean 0 and variance 1: sums of three uniforms."""
    chance = uniforms(np.arange(_TILE * _TILE), 0x7E57, count=3)
    return ((chance.sum(axis=1) - 1.5) * 2.0).reshape(_TILE, _TILE).astype(np.float32)


_NOISE = _noise_tile()


def render(traits: Traits, view: View, geometry: Geometry, size: int) -> NDArray[np.uint8]:
    """(N, size, size) uint8 grey pictures of N faces."""
    count = len(traits.skin)
    images = np.empty((count, size, size), np.uint8)
    for start in range(0, count, _FACES_PER_PASS):
        part = slice(start, min(start + _FACES_PER_PASS, count))
        images[part] = _draw(Columns(traits, part), Columns(view, part), Columns(geometry, part), size)
    return images


def _draw(t: Columns, w: Columns, g: Columns, size: int) -> NDArray[np.uint8]:
    face = _place(w, t, size)
    face.image[...] = w.background + w.background_slope * face.y
    head, skull = _head_shape(face, t, g)
    _back(face, t, skull)
    _skin(face, t, head)
    features.forehead(face.cut(-1.0, 0.05), t, g)
    features.cheeks(face.cut(-0.45, 0.75, 0.95), t, g)
    features.nose(face.cut(-0.55, 0.5, 0.45), t, w, g)
    if t.beard.any():
        features.beard(face.cut(-0.35, 1.0), t, head)
    features.mouth(face.cut(0.0, 1.0, 0.72), t, g)
    features.eyes(face.cut(-0.6, 0.3, 0.85), t, w, g)
    _hair(face, t, skull)
    features.brows(face.cut(-0.9, 0.12, 0.9), t, g)
    if t.glasses.any():
        features.glasses(face.cut(-0.62, 0.35), t)
    return _photograph(face, w)


def _place(w: Columns, t: Columns, size: int) -> Area:
    """A blank picture with the coordinates that the pose gives its pixels."""
    grid = ((np.arange(size, dtype=np.float32) + 0.5) * (2.0 / size) - 1.0).astype(np.float32)
    across, down = grid[None, None, :], grid[None, :, None]
    # Small-angle rotation, orthonormal to third order, without sin and cos.
    cosine, sine = (1 - 0.5 * w.roll * w.roll) / w.scale, w.roll / w.scale
    x = (across - w.shift_x) * cosine + (down - w.shift_y) * sine
    y = (down - w.shift_y) * cosine - (across - w.shift_x) * sine
    # Turning a round head slides the face over it, most in the middle and not at all on the outline.
    slide = x * (1.0 / t.head_width)
    slide = np.maximum(1.0 - slide * slide, 0.0)
    u = x - w.yaw * slide
    v = y - w.pitch * slide
    return Area(np.zeros_like(x), x, y, u, v, np.abs(u), (size / 2) * w.scale)


def _head_shape(face: Area, t: Columns, g: Columns) -> tuple[Plane, Plane]:
    """(squared radius of the head's outline, 1 on it; the same for the skull continued straight down)."""
    down = face.y - HEAD_Y
    below = np.maximum(down, 0.0)
    down = (down - below) * (1.0 / t.forehead)
    down *= down
    below *= 1.0 / (g.jaw_length - HEAD_Y)
    below *= below
    across = face.x * (1.0 / t.head_width)
    across *= across
    skull = across + down
    # Towards the chin the head narrows, and a square jaw bulges the ellipse out (squircle of Fernández-Guasti).
    across *= 1.0 + (2 * t.taper) * below
    return across * below * -t.jaw + below + down + across, skull


def _back(face: Area, t: Columns, skull: Plane) -> None:
    """Neck, shoulders, the hair behind the head, ears."""
    low = face.cut(0.5, 1.0)
    low.paint(cover(0.40 - np.abs(low.x), low.pixels), 0.62 * t.skin)
    slope = 0.80 + 0.35 * np.abs(low.x)
    low.paint(cover(low.y - slope, low.pixels), 0.25 + 0.5 * t.parting * t.parting)
    # Long hair ends in a bow, higher at the sides.
    bow = 0.22 * (t.hair_length > 0.3) * face.x * face.x
    depth = np.minimum(_hair_depth(t, skull), t.hair_length - face.y - bow)
    face.paint(cover(depth, face.pixels), 0.8 * t.hair_level)
    middle = face.cut(-0.5, 0.45)
    ears = ellipse_depth(np.abs(middle.x) - t.head_width, middle.y + 0.02, 0.085 * t.ear, 0.19 * t.ear)
    middle.paint(cover(ears, middle.pixels) * (t.hair_length < 0.3), 0.8 * t.skin)


def _hair_depth(t: Columns, skull: Plane) -> Plane:
    """How far inside the outline of the hair, which stands off the skull."""
    reach = 1.0 + t.hair_volume
    return (reach * reach - skull) * (0.5 * t.head_width)


def _skin(face: Area, t: Columns, head: Plane) -> None:
    """The head itself, darker where it curves away."""
    falloff = np.maximum(head * head * (-0.20 * t.skin) + 1.02 * t.skin, 0.3 * t.skin)
    face.paint(cover((1.0 - head) * (0.5 * t.head_width), face.pixels), falloff)


def _hair(face: Area, t: Columns, skull: Plane) -> None:
    """The hair in front: above the hairline, over the temples; strands by a rounded triangle wave."""
    line = t.hairline + t.temple * (face.x * face.x)
    line -= t.parting_depth * bump(((face.x - t.parting) * (1.0 / 0.3)) ** 2)
    strand = face.x * 5.0 + face.y * (2.0 * t.parting)
    strand = np.abs(strand - np.rint(strand))
    strand = strand * strand * (6.0 - 8.0 * strand)  # rounded: 0 to 0.5 still
    depth = _hair_depth(t, skull) + (2.0 * t.curl) * (strand - 0.25)
    edge = line - face.y + (0.03 + t.curl) * (strand - 0.25)
    gloss = bump(((skull - 0.62) * (1.0 / 0.35)) ** 2) * (0.10 + 0.25 * t.hair_level) * 0.5
    level = strand * (0.22 * t.hair_level) + 0.92 * t.hair_level + gloss
    face.paint(cover(np.minimum(depth, edge), face.pixels), level)


def _photograph(face: Area, w: Columns) -> NDArray[np.uint8]:
    """Light from one side, then the camera: contrast, blur, sensor noise, 8 bits."""
    light = face.x * w.light_x + w.light_y * face.y + 1.0
    image = (face.image * light - 0.5) * w.contrast + (0.5 + w.brightness)
    if w.blur.any():
        image = _blur(_blur(image, w.blur, 1), w.blur, 2)
    if w.noise.any():
        image += w.noise * _noise(w, image.shape[1])
    return np.clip(np.rint(image * 255.0), 0.0, 255.0).astype(np.uint8)


def _blur(image: Plane, weight: Plane, axis: int) -> Plane:
    """Three-tap blur along one axis; the border repeats."""
    length = image.shape[axis]
    before = np.take(image, np.maximum(np.arange(length) - 1, 0), axis=axis)
    after = np.take(image, np.minimum(np.arange(length) + 1, length - 1), axis=axis)
    return (before + after) * weight + image * (1.0 - 2.0 * weight)


def _noise(w: Columns, size: int) -> Plane:
    """(n, size, size) excerpts of the noise tile, each from its own place."""
    tile = _NOISE if size <= _TILE else np.tile(_NOISE, (-(-size // _TILE), -(-size // _TILE)))
    corners = zip((w.noise_row * _TILE).ravel(), (w.noise_column * _TILE).ravel(), strict=True)
    return np.stack([np.roll(tile, (-int(r), -int(c)), (0, 1))[:size, :size] for r, c in corners])
