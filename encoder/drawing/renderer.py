"""Draws a batch of faces: layers of soft shapes from the background to the glasses, then light and camera.

Speed comes from drawing a few dozen faces per pass (they stay in the cache), from windows around the features, and from
the symmetry of the face: both eyes are one shape in the distance from the midline.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder.drawing.geometry import Geometry
from encoder.drawing.shapes import Area, Plane, bump, clamp, cover, ellipse_depth, spot, stroke
from encoder.drawing.traits import Traits, View
from engine.counter_random import uniforms

_FACES_PER_PASS = 16
_TILE = 256  # side of the tile of sensor noise; larger pictures repeat it
_HEAD_Y = -0.12  # height of the widest part of the head


class _Columns:
    """One pass's rows of Traits, View or Geometry, as (n, 1, 1) planes under the same names."""

    def __init__(self, source: Traits | View | Geometry, part: slice) -> None:
        for field in dataclasses.fields(source):
            setattr(self, field.name, getattr(source, field.name)[part].astype(np.float32)[:, None, None])

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


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
        images[part] = _draw(_Columns(traits, part), _Columns(view, part), _Columns(geometry, part), size)
    return images


def _draw(t: _Columns, w: _Columns, g: _Columns, size: int) -> NDArray[np.uint8]:
    face = _place(w, t, size)
    face.image[...] = w.background + w.background_slope * face.y
    head, skull = _head_shape(face, t, g)
    _back(face, t, skull)
    _skin(face, t, g, head)
    _forehead(face.cut(-1.0, 0.05), t, g)
    _cheeks(face.cut(-0.45, 0.75, 0.95), t, g)
    _nose(face.cut(-0.55, 0.5, 0.45), t, w, g)
    _beard(face.cut(-0.35, 1.0), t, head)
    _mouth(face.cut(0.0, 1.0, 0.72), t, g)
    _eyes(face.cut(-0.6, 0.3, 0.85), t, w, g)
    _hair(face, t, skull)
    _brows(face.cut(-0.9, 0.12, 0.9), t, g)
    if t.glasses.any():
        _glasses(face.cut(-0.62, 0.35), t)
    return _photograph(face, w)


def _place(w: _Columns, t: _Columns, size: int) -> Area:
    """A blank picture with the coordinates that the pose gives its pixels."""
    grid = ((np.arange(size, dtype=np.float32) + 0.5) * (2.0 / size) - 1.0).astype(np.float32)
    across, down = grid[None, None, :], grid[None, :, None]
    # Small-angle rotation, orthonormal to third order, without sin and cos.
    cosine, sine = (1 - 0.5 * w.roll * w.roll) / w.scale, w.roll / w.scale
    x = (across - w.shift_x) * cosine + (down - w.shift_y) * sine
    y = (down - w.shift_y) * cosine - (across - w.shift_x) * sine
    # Turning a round head slides the face over it, most in the middle and not at all on the outline.
    slide = x * (1.0 / t.head_width)
    slide *= slide
    np.subtract(1.0, slide, out=slide)
    np.maximum(slide, 0.0, out=slide)
    u = x - w.yaw * slide
    v = y - w.pitch * slide
    return Area(np.zeros_like(x), x, y, u, v, np.abs(u), (size / 2) * w.scale)


def _head_shape(face: Area, t: _Columns, g: _Columns) -> tuple[Plane, Plane]:
    """(squared radius of the head's outline, 1 on it; the same for the skull continued straight down)."""
    down = face.y - _HEAD_Y
    below = np.maximum(down, 0.0)
    down -= below
    down *= 1.0 / t.forehead
    down *= down
    below *= 1.0 / (g.jaw_length - _HEAD_Y)
    below *= below
    across = face.x * (1.0 / t.head_width)
    across *= across
    skull = across + down
    # Towards the chin the head narrows, and a square jaw bulges the ellipse out (squircle of Fernández-Guasti).
    narrowing = 1.0 + (2 * t.taper) * below
    across *= narrowing
    head = across * below
    head *= -t.jaw
    head += below
    head += down
    head += across
    return head, skull


def _back(face: Area, t: _Columns, skull: Plane) -> None:
    """Neck, shoulders, the hair behind the head, ears."""
    low = face.cut(0.5, 1.0)
    low.paint(cover(0.40 - np.abs(low.x), low.pixels), 0.62 * t.skin)
    slope = 0.80 + 0.35 * np.abs(low.x)
    low.paint(cover(low.y - slope, low.pixels), 0.25 + 0.5 * t.parting * t.parting)
    reach = 1.0 + t.hair_volume
    depth = (reach * reach - skull) * (0.5 * t.head_width)
    np.minimum(depth, t.hair_length - face.y, out=depth)
    face.paint(cover(depth, face.pixels), 0.8 * t.hair_level)
    middle = face.cut(-0.5, 0.45)
    ears = ellipse_depth(np.abs(middle.x) - t.head_width, middle.y + 0.02, 0.085 * t.ear, 0.19 * t.ear)
    ears = cover(ears, middle.pixels)
    ears *= t.hair_length < 0.3
    middle.paint(ears, 0.8 * t.skin)


def _skin(face: Area, t: _Columns, g: _Columns, head: Plane) -> None:
    """The head itself, darker where it curves away."""
    falloff = head * head
    falloff *= -0.20 * t.skin
    falloff += 1.02 * t.skin
    np.maximum(falloff, 0.3 * t.skin, out=falloff)
    face.paint(cover((1.0 - head) * (0.5 * t.head_width), face.pixels), falloff)


def _forehead(area: Area, t: _Columns, g: _Columns) -> None:
    """Furrows of AU 1 and AU 2 across the forehead, of AU 4 between the brows."""
    top = g.brow_y - 0.13
    side = area.a * (1.0 / 0.5)
    side *= side
    sideways = bump(side)
    extent = g.forehead_side * np.minimum(1.0, 2.2 * area.a) + g.forehead_centre * np.maximum(0.0, 1.0 - 2.0 * area.a)
    sideways *= extent
    wave = area.v - 0.12 * side * g.forehead_side * 0.25
    furrows = stroke(wave - top, 0.018, area.pixels)
    furrows += stroke(wave - (top - 0.085), 0.016, area.pixels)
    furrows *= sideways
    furrows *= 0.16 + 0.10 * t.age
    middle = area.cut(-0.75, 0.05, 0.35) if area.image.shape[1] == 0 else area
    frown = stroke(middle.a - 0.055, 0.022, middle.pixels)
    rise = (middle.v - (t.eye_height - 0.12)) * (1.0 / 0.15)
    rise *= rise
    frown *= bump(rise)
    frown *= 0.5 * g.frown
    furrows += frown
    area.shade(furrows)


def _cheeks(area: Area, t: _Columns, g: _Columns) -> None:
    """Sockets, raised cheeks (AU 6), folds from nose to mouth (AU 9, 10, 12)."""
    dx = area.a - t.eye_spacing
    dy = area.v - t.eye_height
    tone = spot(dx, dy + 0.03, 0.33, 0.24)
    tone *= 0.16
    raised = spot(dx - 0.03, dy - 0.32 + 0.04 * g.cheek, 0.24, 0.17)
    raised *= -0.10 * g.cheek - 0.03
    tone += raised
    # The pouch under the eye, pushed up by the cheek.
    pouch = stroke(dy - 0.125 + 0.02 * g.cheek - 0.9 * dx * dx, 0.025, area.pixels)
    pouch *= bump((dx * (1.0 / 0.2)) ** 2)
    pouch *= 0.06 + 0.05 * t.age + 0.22 * g.cheek
    tone += pouch
    # Fold: from the wing of the nose, bowing outwards, down past the corner of the mouth.
    s = (area.v - (g.nose_base - 0.05)) * (1.0 / 0.36)
    along = s * (1.0 - s)
    np.maximum(along, 0.0, out=along)
    line = (g.nose_width + 0.02) + (0.17 + g.fold_x) * s + (0.10 + g.fold_x) * along
    fold = stroke(area.a - line, 0.03, area.pixels)
    along *= 4.0
    fold *= along
    fold *= 0.42 * g.fold
    tone += fold
    feet = stroke(np.abs(dy + 0.005) - 0.55 * (dx - 0.19), 0.018, area.pixels)
    feet *= bump(((dx - 0.25) * (1.0 / 0.07)) ** 2)
    feet *= 0.30 * g.crow_feet
    tone += feet
    area.shade(tone)


def _nose(area: Area, t: _Columns, w: _Columns, g: _Columns) -> None:
    """Ridge, tip, wings and nostrils; the wrinkles of AU 9 across the root."""
    base = area.v - g.nose_base
    # The flank away from the light and from the camera is the darker one.
    facing = np.where(w.light_x + w.yaw > 0, 1.0, -1.0).astype(np.float32)
    length = bump((base + 0.22) ** 2 * (1.0 / 0.30**2))
    flank = stroke(area.u * facing + 0.075 + 0.12 * base, 0.05, area.pixels)
    flank *= length
    flank *= 0.20
    tone = flank
    ridge = stroke(area.u, 0.05, area.pixels)
    ridge *= length
    ridge *= -0.10
    tone += ridge
    under = spot(area.u, base - 0.045, 1.2 * g.nose_width, 0.05)
    under *= 0.30
    tone += under
    wing = stroke(area.a - g.nose_width, 0.022, area.pixels)
    wing *= bump((base + 0.03) ** 2 * (1.0 / 0.075**2))
    wing *= 0.34
    tone += wing
    wrinkle = base + 0.30 + 0.55 * area.a
    pleats = stroke(wrinkle, 0.02, area.pixels)
    pleats += stroke(wrinkle - 0.075, 0.02, area.pixels)
    pleats += stroke(wrinkle - 0.15, 0.02, area.pixels)
    pleats *= bump((area.a * (1.0 / 0.17)) ** 2)
    pleats *= 0.62 * g.nose_wrinkle
    tone += pleats
    area.shade(tone)
    nostrils = cover(ellipse_depth(area.a - 0.58 * g.nose_width, base, 0.42 * g.nose_width, 0.026), area.pixels)
    nostrils *= 0.72
    area.paint(nostrils, 0.28 * t.skin)


def _beard(area: Area, t: _Columns, head: Plane) -> None:
    if not t.beard.any():
        return
    inside = head[:, -area.image.shape[1] :]
    depth = np.minimum((1.0 - inside) * (0.5 * t.head_width), area.v + 0.85 * area.a - 0.66)
    mask = cover(depth, 0.25 * area.pixels)
    mask *= t.beard
    area.paint(mask, 1.05 * t.hair_level + 0.03)


def _mouth(area: Area, t: _Columns, g: _Columns) -> None:
    m = area.a * (1.0 / g.mouth_half)
    m2 = m * m
    profile = 1.0 - m2  # height of an open mouth: round, or square where the lips are stretched
    square = 1.0 + g.mouth_square * m2
    square *= profile
    line = area.v - g.mouth_y
    line -= g.mouth_corner * m2
    above = line + g.open_upper * square  # below the inner edge of the upper lip
    under = g.open_lower * square - line  # above the inner edge of the lower lip
    within = clamp(profile * 6.0)

    # Moustache, then the shadow under the lower lip and the boss of the chin (AU 17).
    hairy = spot(area.a, above + g.lip_upper + 0.055, g.mouth_half * 1.05, 0.075)
    hairy *= 2.2 * t.moustache
    area.paint(clamp(hairy), 1.05 * t.hair_level + 0.03)
    drop = line - (g.open_lower + g.lip_lower)
    shadow = spot(area.a, drop - 0.055, 0.75 * g.mouth_half, 0.06)
    shadow *= 0.16 + 0.22 * g.chin_boss
    boss = spot(area.a, drop - 0.17, 0.17, 0.075)
    boss *= -0.10 * g.chin_boss
    shadow += boss
    dimple = stroke(drop - 0.115 - 1.5 * area.a * area.a, 0.02, area.pixels)
    dimple *= bump((area.a * (1.0 / 0.16)) ** 2)
    dimple *= 0.45 * g.chin_boss
    shadow += dimple
    area.shade(shadow)

    bow = 1.0 - 0.35 * bump((m * (1.0 / 0.28)) ** 2)
    bow *= profile
    upper_lip = cover(np.minimum(above + g.lip_upper * bow, under), area.pixels)
    area.paint(upper_lip, 0.66 * t.skin)
    lower_lip = cover(np.minimum(under + g.lip_lower * profile, above), area.pixels)
    area.paint(lower_lip, 0.76 * t.skin)

    hole = cover(np.minimum(above, under), area.pixels)
    hole *= within
    inner = np.full_like(area.v, 0.10)
    tongue = spot(area.a, under - 0.01, 0.7 * g.mouth_half, 0.09)
    tongue *= 0.22
    inner += tongue
    teeth = cover(0.065 - above, area.pixels)
    teeth *= g.teeth_upper
    lower_teeth = cover(0.05 - under, area.pixels)
    lower_teeth *= g.teeth_lower
    np.maximum(teeth, lower_teeth, out=teeth)
    teeth *= 0.84 - inner
    inner += teeth
    area.paint(hole, inner)

    # The parting line, thinner where the mouth is open; pressed lips (AU 23, 24) make it hard.
    parting = stroke(np.minimum(np.abs(above), np.abs(under)), 0.024 + 0.012 * g.press, area.pixels)
    parting *= clamp(profile * 4.0 + 0.35)
    parting *= 0.72 + 0.2 * g.press
    area.paint(parting, 0.20 * t.skin)
    corner = spot(area.a - g.mouth_half, area.v - (g.mouth_y + g.mouth_corner), 0.05, 0.05)
    corner *= 0.45
    area.shade(corner)


def _eyes(area: Area, t: _Columns, w: _Columns, g: _Columns) -> None:
    dx = area.a - t.eye_spacing
    p = dx * (1.0 / t.eye_width)
    profile = p * p
    np.subtract(1.0, profile, out=profile)
    height = area.v - t.eye_height
    height -= (t.eye_tilt * t.eye_width) * p
    below = height + g.eye_upper * profile  # depth below the upper lid
    below -= (g.lid_droop * t.eye_width) * np.maximum(p, -0.3)
    above = g.eye_lower * profile - height
    opening = cover(np.minimum(below, above), area.pixels)

    lid = stroke(below + 0.062, 0.02, area.pixels)
    lid *= clamp(profile + 0.25)
    lid *= 0.26
    pouch = stroke(above + 0.012, 0.022, area.pixels)
    pouch *= clamp(profile + 0.1)
    pouch *= 0.10 + 0.34 * g.lid_tension
    lid += pouch
    area.shade(lid)

    side = np.where(area.u > 0, w.gaze + 0.4 * w.yaw * 0.1, -w.gaze - 0.4 * w.yaw * 0.1).astype(np.float32)
    rx = dx - side
    ry = height + 0.012
    radius = rx * rx
    radius += ry * ry
    ball = np.full_like(radius, 0.95)
    ball -= 0.25 * bump((below * (1.0 / 0.05)) ** 2)
    iris = cover((0.085**2 - radius) * (1.0 / 0.17), area.pixels)
    ball += iris * (t.iris - ball)
    pupil = cover((0.042**2 - radius) * (1.0 / 0.084), area.pixels)
    ball += pupil * (0.03 - ball)
    glint = spot(area.a - t.eye_spacing - side + 0.028, ry + 0.03, 0.035, 0.035)
    ball += glint * (1.0 - ball)
    area.paint(opening, ball)

    lashes = stroke(below, 0.026, area.pixels)
    lashes *= clamp(profile * 3.0 + 0.5)
    lashes *= 0.88
    area.paint(lashes, 0.16 * t.skin)


def _hair(face: Area, t: _Columns, skull: Plane) -> None:
    """The hair in front: above the hairline, over the temples; strands by a triangle wave."""
    x2 = face.x * face.x
    line = t.hairline + t.temple * x2
    line -= t.parting_depth * bump(((face.x - t.parting) * (1.0 / 0.3)) ** 2)
    reach = 1.0 + t.hair_volume
    depth = (reach * reach - skull) * (0.5 * t.head_width)
    strand = face.x * 5.0 + face.y * (2.0 * t.parting)
    strand -= np.rint(strand)
    np.abs(strand, out=strand)
    depth += (2.0 * t.curl) * (strand - 0.25)
    edge = line - face.y
    edge += (0.03 + t.curl) * (strand - 0.25)
    np.minimum(depth, edge, out=depth)
    mask = cover(depth, face.pixels)
    strand *= 0.22 * t.hair_level
    strand += 0.92 * t.hair_level
    gloss = bump(((skull - 0.62) * (1.0 / 0.35)) ** 2)
    gloss *= 0.10 + 0.25 * t.hair_level
    gloss *= 0.5
    strand += gloss
    face.paint(mask, strand)


def _brows(area: Area, t: _Columns, g: _Columns) -> None:
    s = (area.a - g.brow_inner_x) * (1.0 / g.brow_span)
    curve = s * g.brow_bend
    curve += g.brow_slope
    curve *= s
    curve += g.brow_y
    np.subtract(area.v, curve, out=curve)
    np.abs(curve, out=curve)
    ends = np.minimum(s, 1.0 - s)
    ends *= g.brow_span
    thickness = t.brow_thickness * (1.25 - 0.7 * s)
    thickness -= curve
    np.minimum(thickness, ends, out=thickness)
    mask = cover(thickness, 0.8 * area.pixels)
    mask *= 0.94
    area.paint(mask, t.brow_level)


def _glasses(area: Area, t: _Columns) -> None:
    dx = area.a - (t.eye_spacing + 0.005)
    dy = area.v - (t.eye_height + 0.03)
    width, height = 0.235 * t.glasses_size, 0.165 * t.glasses_size
    across = (dx * (1.0 / width)) ** 2
    down = (dy * (1.0 / height)) ** 2
    radius = across + down - 0.35 * across * down
    lens = clamp((1.05 - radius) * 8.0)
    lens *= -0.05 * t.glasses
    area.shade(lens)
    rim = stroke((radius - 1.0) * (0.5 * height), 0.026, area.pixels)
    bar = stroke(dy + 0.05 + 0.0 * dx, 0.024, area.pixels)
    outside = clamp((radius - 1.0) * 20.0)
    bar *= outside
    bar *= area.a < 0.75
    np.maximum(rim, bar, out=rim)
    # Far from the eye the rounded square crosses 1 once more; the rim is only the inner crossing.
    rim *= (across < 2.5) & (down < 2.5) | (bar > 0)
    rim *= 0.9 * t.glasses
    area.paint(rim, t.glasses_level)


def _photograph(face: Area, w: _Columns) -> NDArray[np.uint8]:
    """Light from one side, then the camera: contrast, blur, sensor noise, 8 bits."""
    image = face.image
    light = face.x * w.light_x
    light += w.light_y * face.y
    light += 1.0
    image *= light
    image -= 0.5
    image *= w.contrast
    image += 0.5 + w.brightness
    if w.blur.any():
        image = _blur(_blur(image, w.blur, 1), w.blur, 2)
    if w.noise.any():
        image += w.noise * _noise(w, image.shape[1])
    image *= 255.0
    np.rint(image, out=image)
    np.clip(image, 0.0, 255.0, out=image)
    return image.astype(np.uint8)


def _blur(image: Plane, weight: Plane, axis: int) -> Plane:
    """Three-tap blur along one axis; the border repeats."""
    length = image.shape[axis]
    before = np.take(image, np.maximum(np.arange(length) - 1, 0), axis=axis)
    after = np.take(image, np.minimum(np.arange(length) + 1, length - 1), axis=axis)
    before += after
    before *= weight
    return before + image * (1.0 - 2.0 * weight)


def _noise(w: _Columns, size: int) -> Plane:
    """(n, size, size) excerpts of the noise tile, each from its own place."""
    tile = _NOISE if size <= _TILE else np.tile(_NOISE, (-(-size // _TILE), -(-size // _TILE)))
    corners = zip((w.noise_row * _TILE).ravel(), (w.noise_column * _TILE).ravel(), strict=True)
    return np.stack([np.roll(tile, (-int(r), -int(c)), (0, 1))[:size, :size] for r, c in corners])
