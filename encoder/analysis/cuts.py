"""One face of a picture as each network that reads it wants it cut."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from encoder.config import CropConfig
from encoder.detection.align import crop_face
from encoder.detection.face import DetectedFace
from encoder.pictures.colour_crops import colour_crops

if TYPE_CHECKING:
    from encoder.inference.emotion_encoder import EmotionEncoder
    from encoder.people.gender import GenderModel

# Colour crops for gender, identity and overlays; the emotion network gets its own, cut at its own size.
DETAIL_SIZE = 160


def cut_for_all(
    picture: NDArray[np.uint8],
    face: DetectedFace,
    encoder: EmotionEncoder,
    gender: GenderModel | None,
    *,
    gallery: bool,
    explain: bool,
    whole: bool,
) -> dict[str, NDArray[np.uint8]]:
    """The crops ``emotion``, and where asked for ``explain``, ``gender`` and ``gallery``, each (size, size, 3) uint8.

    Args:
        whole: the picture is a crop already and is read as it is, but for the gallery, whose own pictures are cut as well.
    """

    def cut(size: int, crop: CropConfig | None) -> NDArray[np.uint8]:
        return colour_crops([picture], (size, size))[0] if whole else crop_face(picture, face, size, crop)

    convention = encoder.preprocessing
    cuts = {"emotion": cut(convention.size, convention.crop)}
    if explain:
        cuts["explain"] = cut(DETAIL_SIZE, convention.crop)
    if gender is not None:
        cuts["gender"] = cut(DETAIL_SIZE, gender.crop)
    if gallery:
        cuts["gallery"] = crop_face(picture, face, DETAIL_SIZE)
    return cuts
