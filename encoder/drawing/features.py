"""The features of a drawn face, each painted or shaded into its window of the picture: brows, eyes, nose, mouth, furrows."""

from __future__ import annotations

import numpy as np

from encoder.drawing.shapes import Area, Columns, Plane, bump, clamp, cover, ellipse_depth, spot, stroke


def forehead(area: Area, t: Columns, g: Columns) -> None:
    """Furrows of AU 1 and AU 2 across the forehead, of AU 4 between the brows."""
    top = g.brow_y - 0.13
    side = area.a * (1.0 / 0.5)
    side *= side
    extent = g.forehead_side * np.minimum(1.0, 2.2 * area.a) + g.forehead_centre * np.maximum(0.0, 1.0 - 2.0 * area.a)
    wave = area.v - 0.12 * side * g.forehead_side * 0.25
    furrows = stroke(wave - top, 0.018, area.pixels) + stroke(wave - (top - 0.085), 0.016, area.pixels)
    furrows = furrows * (bump(side) * extent) * (0.16 + 0.10 * t.age)
    rise = (area.v - (t.eye_height - 0.12)) * (1.0 / 0.15)
    frown = stroke(area.a - 0.055, 0.022, area.pixels) * bump(rise * rise) * (0.5 * g.frown)
    area.shade(furrows + frown)


def cheeks(area: Area, t: Columns, g: Columns) -> None:
    """Sockets, raised cheeks (AU 6), folds from nose to mouth (AU 9, 10, 12)."""
    dx = area.a - t.eye_spacing
    dy = area.v - t.eye_height
    socket = spot(dx, dy + 0.03, 0.33, 0.24) * 0.16
    raised = spot(dx - 0.03, dy - 0.32 + 0.04 * g.cheek, 0.24, 0.17) * (-0.10 * g.cheek - 0.03)
    # The pouch under the eye, pushed up by the cheek.
    pouch = stroke(dy - 0.125 + 0.02 * g.cheek - 0.9 * dx * dx, 0.025, area.pixels)
    pouch = pouch * bump((dx * (1.0 / 0.2)) ** 2) * (0.06 + 0.05 * t.age + 0.22 * g.cheek)
    # Fold: from the wing of the nose, bowing outwards, down past the corner of the mouth.
    s = (area.v - (g.nose_base - 0.05)) * (1.0 / 0.36)
    along = np.maximum(s * (1.0 - s), 0.0)
    line = (g.nose_width + 0.02) + (0.17 + g.fold_x) * s + (0.10 + g.fold_x) * along
    fold = stroke(area.a - line, 0.03, area.pixels) * (along * 4.0) * (0.42 * g.fold)
    feet = stroke(np.abs(dy + 0.005) - 0.55 * (dx - 0.19), 0.018, area.pixels)
    feet = feet * bump(((dx - 0.25) * (1.0 / 0.07)) ** 2) * (0.30 * g.crow_feet)
    area.shade(socket + raised + pouch + fold + feet)


def nose(area: Area, t: Columns, w: Columns, g: Columns) -> None:
    """Ridge, tip, wings and nostrils; the wrinkles of AU 9 across the root."""
    base = area.v - g.nose_base
    # The flank away from the light and from the camera is the darker one.
    facing = np.where(w.light_x + w.yaw > 0, 1.0, -1.0).astype(np.float32)
    length = bump((base + 0.22) ** 2 * (1.0 / 0.30**2))
    flank = stroke(area.u * facing + 0.075 + 0.12 * base, 0.05, area.pixels) * length * 0.20
    ridge = stroke(area.u, 0.05, area.pixels) * length * -0.10
    under = spot(area.u, base - 0.045, 1.2 * g.nose_width, 0.05) * 0.30
    wing = stroke(area.a - g.nose_width, 0.022, area.pixels) * bump((base + 0.03) ** 2 * (1.0 / 0.075**2)) * 0.34
    wrinkle = base + 0.30 + 0.55 * area.a
    pleats = stroke(wrinkle, 0.02, area.pixels) + stroke(wrinkle - 0.075, 0.02, area.pixels)
    pleats += stroke(wrinkle - 0.15, 0.02, area.pixels)
    pleats = pleats * bump((area.a * (1.0 / 0.17)) ** 2) * (0.62 * g.nose_wrinkle)
    area.shade(flank + ridge + under + wing + pleats)
    nostrils = cover(ellipse_depth(area.a - 0.58 * g.nose_width, base, 0.42 * g.nose_width, 0.026), area.pixels)
    area.paint(nostrils * 0.72, 0.28 * t.skin)


def beard(area: Area, t: Columns, head: Plane) -> None:
    """The beard, inside the outline ``head`` of the whole picture."""
    inside = head[:, -area.image.shape[1] :]
    # Down from the ears and around the chin in one bow, thin where it begins.
    edge = area.v + area.a * area.a * np.float32(1.5) - np.float32(0.60)
    soft = clamp(edge * np.float32(9.0))
    area.paint(cover((1.0 - inside) * (0.5 * t.head_width), area.pixels) * soft * t.beard, 1.05 * t.hair_level + 0.03)


def mouth(area: Area, t: Columns, g: Columns) -> None:
    """Moustache and chin, lips, and what an open mouth shows."""
    m = area.a * (1.0 / g.mouth_half)
    m2 = m * m
    profile = 1.0 - m2  # height of an open mouth: round, or square where the lips are stretched
    square = (1.0 + g.mouth_square * m2) * profile
    line = area.v - g.mouth_y - g.mouth_corner * m2
    above = line + g.open_upper * square  # below the inner edge of the upper lip
    under = g.open_lower * square - line  # above the inner edge of the lower lip

    # Moustache, then the shadow under the lower lip and the boss of the chin (AU 17).
    hairy = spot(area.a, above + g.lip_upper + 0.055, g.mouth_half * 1.05, 0.075) * (2.2 * t.moustache)
    area.paint(clamp(hairy), 1.05 * t.hair_level + 0.03)
    drop = line - (g.open_lower + g.lip_lower)
    shadow = spot(area.a, drop - 0.055, 0.75 * g.mouth_half, 0.06) * (0.16 + 0.22 * g.chin_boss)
    boss = spot(area.a, drop - 0.17, 0.17, 0.075) * (-0.10 * g.chin_boss)
    dimple = stroke(drop - 0.115 - 1.5 * area.a * area.a, 0.02, area.pixels)
    dimple = dimple * bump((area.a * (1.0 / 0.16)) ** 2) * (0.45 * g.chin_boss)
    area.shade(shadow + boss + dimple)

    bow = (1.0 - 0.35 * bump((m * (1.0 / 0.28)) ** 2)) * profile
    area.paint(cover(np.minimum(above + g.lip_upper * bow, under), area.pixels), 0.66 * t.skin)
    area.paint(cover(np.minimum(under + g.lip_lower * profile, above), area.pixels), 0.76 * t.skin)

    hole = cover(np.minimum(above, under), area.pixels) * clamp(profile * 6.0)
    tongue = spot(area.a, under - 0.01, 0.7 * g.mouth_half, 0.09) * 0.22
    inner = np.float32(0.10) + tongue
    teeth = np.maximum(cover(0.065 - above, area.pixels) * g.teeth_upper, cover(0.05 - under, area.pixels) * g.teeth_lower)
    area.paint(hole, inner + teeth * (0.84 - inner))

    # The parting line, thinner where the mouth is open; pressed lips (AU 23, 24) make it hard.
    parting = stroke(np.minimum(np.abs(above), np.abs(under)), 0.024 + 0.012 * g.press, area.pixels)
    area.paint(parting * clamp(profile * 4.0 + 0.35) * (0.72 + 0.2 * g.press), 0.20 * t.skin)
    area.shade(spot(area.a - g.mouth_half, area.v - (g.mouth_y + g.mouth_corner), 0.05, 0.05) * 0.45)


def eyes(area: Area, t: Columns, w: Columns, g: Columns) -> None:
    """Lids and pouches, the eyeball with its iris, the lashes."""
    dx = area.a - t.eye_spacing
    p = dx * (1.0 / t.eye_width)
    profile = 1.0 - p * p
    height = area.v - t.eye_height - (t.eye_tilt * t.eye_width) * p
    below = height + g.eye_upper * profile - (g.lid_droop * t.eye_width) * np.maximum(p, -0.3)  # depth below the upper lid
    above = g.eye_lower * profile - height
    opening = cover(np.minimum(below, above), area.pixels)

    lid = stroke(below + 0.062, 0.02, area.pixels) * clamp(profile + 0.25) * 0.26
    pouch = stroke(above + 0.012, 0.022, area.pixels) * clamp(profile + 0.1) * (0.10 + 0.34 * g.lid_tension)
    area.shade(lid + pouch)

    side = np.where(area.u > 0, w.gaze + 0.4 * w.yaw * 0.1, -w.gaze - 0.4 * w.yaw * 0.1).astype(np.float32)
    rx = dx - side
    ry = height + 0.012
    radius = rx * rx + ry * ry
    ball = np.float32(0.95) - 0.25 * bump((below * (1.0 / 0.05)) ** 2)
    iris = cover((0.085**2 - radius) * (1.0 / 0.17), area.pixels)
    ball += iris * (t.iris - ball)
    pupil = cover((0.042**2 - radius) * (1.0 / 0.084), area.pixels)
    ball += pupil * (0.03 - ball)
    glint = spot(area.a - t.eye_spacing - side + 0.028, ry + 0.03, 0.035, 0.035)
    ball += glint * (1.0 - ball)
    area.paint(opening, ball)

    lashes = stroke(below, 0.026, area.pixels) * clamp(profile * 3.0 + 0.5) * 0.88
    area.paint(lashes, 0.16 * t.skin)


def brows(area: Area, t: Columns, g: Columns) -> None:
    """Both brows along their parabola, thinner outwards."""
    s = (area.a - g.brow_inner_x) * (1.0 / g.brow_span)
    curve = (s * g.brow_bend + g.brow_slope) * s + g.brow_y
    # Round at the inner end, to a point at the outer one, both a little beyond the landmarks at 0 and 1.
    inner, outer = clamp((0.07 - s) * (1.0 / 0.12)), clamp((s - 0.60) * (1.0 / 0.45))
    width = t.brow_thickness * (1.25 - 0.7 * s) * (1.0 - inner * inner) * (1.0 - outer * outer)
    ends = np.minimum(s + 0.05, 1.05 - s) * g.brow_span
    area.paint(cover(np.minimum(width - np.abs(area.v - curve), ends), 0.8 * area.pixels) * 0.94, t.brow_level)


def glasses(area: Area, t: Columns) -> None:
    """Lenses, rims and the bar between them."""
    dx = area.a - (t.eye_spacing + 0.005)
    dy = area.v - (t.eye_height + 0.03)
    width, height = 0.235 * t.glasses_size, 0.165 * t.glasses_size
    across = (dx * (1.0 / width)) ** 2
    down = (dy * (1.0 / height)) ** 2
    radius = across + down - 0.35 * across * down
    # Far from the eye the rounded square crosses 1 once more; lens and rim are within the inner crossing only.
    near = (across < 2.5) & (down < 2.5)
    area.shade(clamp((1.05 - radius) * 8.0) * near * (-0.05 * t.glasses))
    rim = stroke((radius - 1.0) * (0.5 * height), 0.026, area.pixels)
    bar = stroke(dy + 0.05, 0.024, area.pixels) * clamp((radius - 1.0) * 20.0) * (area.a < 0.75)
    shown = near | (bar > 0)
    area.paint(np.maximum(rim, bar) * shown * (0.9 * t.glasses), t.glasses_level)
