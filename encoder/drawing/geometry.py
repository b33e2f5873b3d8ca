"""What each action unit does to a face: traits and action units in, shapes of brows, eyes, nose and mouth out.

Lengths are in head units (see ``encoder.drawing.traits``); features are symmetric, so x is the distance from the midline.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
from numpy.typing import NDArray

from encoder.drawing.action_units import AU_COLUMN
from encoder.drawing.traits import Traits

HEAD_Y = -0.12  # height of the widest part of the head


class Geometry(SimpleNamespace):
    """One (N,) float32 column per measure of N faces, as :func:`shape_face` names them; ``*_y`` are heights (down is positive).

    The height of the brow is ``brow_y + brow_slope * s + brow_bend * s**2``, s from 0 (inner) to 1 (outer).
    """


def shape_face(traits: Traits, action_units: NDArray[np.float32]) -> Geometry:
    """Geometry of N faces from their traits and (N, n_AU) action units in [0, 1]."""
    au = {number: action_units[:, column] for number, column in AU_COLUMN.items()}
    # AU 1 with AU 4 is the oblique brow of sadness: the inner end rises although the brow is drawn together.
    lowering = au[4] * (1 - 0.8 * au[1])
    arch = traits.brow_arch * (1 - 0.7 * au[4])
    base = traits.eye_height + traits.brow_height
    inner = base + 0.015 - 0.13 * au[1] + 0.115 * lowering + 0.045 * au[9]
    middle = base - arch - 0.06 * au[1] - 0.125 * au[2] + 0.07 * lowering + 0.03 * au[9]
    outer = base + 0.03 + 0.03 * au[1] * (1 - au[2]) - 0.12 * au[2] - 0.01 * lowering + 0.01 * au[9]
    # The parabola through the three heights at s = 0, 0.5, 1.
    slope = 4 * middle - 3 * inner - outer
    bend = 2 * inner + 2 * outer - 4 * middle

    squint = 0.38 * au[7] * (1 - 0.5 * au[5]) + 0.30 * au[6] + 0.34 * au[9] + 0.16 * au[10] + 0.12 * lowering
    upper = 0.6 * traits.eye_opening * (1 + 0.7 * au[5] + 0.12 * au[2] - squint - 0.22 * au[15])
    lower = 0.4 * traits.eye_opening * (1 + 0.3 * au[5] - 0.65 * au[7] - 1.25 * au[6] - 0.55 * au[9])

    parted = np.maximum(au[25], au[26])  # a dropped jaw parts the lips
    lift = 0.055 * au[10] + 0.035 * au[9]
    narrow = 0.34 * au[26] * (1 - au[12]) * (1 - au[20])
    half = traits.mouth_width * (
        1 + 0.34 * au[12] + 0.30 * au[20] + 0.05 * au[10] - 0.14 * au[24] - 0.06 * au[23] - 0.06 * au[17] - narrow
    )
    smile = 0.15 * au[12]
    corner = 0.12 * au[15] + 0.05 * au[20] + 0.04 * au[17] + 0.8 * lift - smile
    mouth_y = traits.mouth_height - lift - 0.03 * au[17] + 0.25 * smile - 0.02 * au[15]
    thin = (1 - 0.65 * au[24]) * (1 - 0.45 * au[23]) * (1 - 0.25 * au[12]) * (1 - 0.25 * au[20])
    return Geometry(
        jaw_length=traits.chin + 0.10 * au[26],
        brow_inner_x=0.135 - 0.05 * au[4] - 0.02 * au[9] + 0.01 * au[2],
        brow_span=traits.brow_length,
        brow_y=inner,
        brow_slope=slope,
        brow_bend=bend,
        eye_upper=upper,
        eye_lower=lower,
        lid_droop=0.20 * au[1] * au[4] * (1 - au[2]) + 0.06 * au[15],
        lid_tension=np.clip(0.9 * au[7] + 0.7 * au[6] + 0.8 * au[9], 0, 1),
        cheek=np.clip(au[6] + 0.5 * au[12] + 0.4 * au[9], 0, 1.3),
        crow_feet=au[6] * np.clip(au[12], 0, 1),
        frown=np.clip(au[4] * (1 - 0.3 * au[2]) + 0.4 * au[9], 0, 1),
        forehead_centre=au[1],
        forehead_side=au[2],
        nose_base=traits.nose_base - 0.035 * au[9] - 0.01 * au[10],
        nose_width=traits.nose_width * (1 + 0.22 * au[9] + 0.10 * au[10] + 0.06 * au[12]),
        nose_wrinkle=au[9],
        fold=np.clip(0.10 * traits.age + 0.75 * au[12] + 0.85 * au[10] + 0.6 * au[9] + 0.15 * au[15], 0, 1),
        fold_x=0.09 * au[12] + 0.05 * au[20] + 0.02 * au[10],
        mouth_y=mouth_y,
        mouth_half=half,
        mouth_corner=corner,
        mouth_square=np.clip(0.9 * au[20] + 0.5 * au[10] * parted + 0.5 * au[16], 0, 1),
        open_upper=parted * (0.012 + 0.045 * au[10] + 0.03 * au[26] + 0.015 * au[20]),
        open_lower=parted * (0.035 + 0.05 * au[12] + 0.055 * au[16] + 0.05 * au[20]) + 0.21 * au[26],
        lip_upper=0.055 * traits.lips * thin * (1 - 0.25 * au[10]),
        lip_lower=0.075 * traits.lips * thin * (1 + 0.15 * au[16] + 0.25 * au[17] * (1 - au[24])),
        teeth_upper=np.clip(parted * (1.3 * au[12] + 0.9 * au[20] + 1.2 * au[10] + 0.25 * au[26]), 0, 1),
        teeth_lower=np.clip(parted * (1.3 * au[16] + 0.7 * au[20]), 0, 1),
        press=np.clip(au[24] + 0.6 * au[23], 0, 1),
        chin_boss=au[17],
    )
