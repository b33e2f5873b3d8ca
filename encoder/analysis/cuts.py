"""One face of a picture as each network that reads it wants it cut, and the one way in which its emotion is read.

Reading, editing and judging photographs all come here, so that one face has one answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from encoder.config import CropConfig
from encoder.detection.align import crop_face
from encoder.detection.face import DetectedFace
from encoder.inference.views import mirrored_distributions
from encoder.pictures.colour_crops import colour_crops

if TYPE_CHECKING:
    from encoder.inference.emotion_encoder import EmotionEncoder
    from encoder.people.gender import GenderModel

# Colour crops for gender, identity and overlays; the emotion network gets its own, cut at its own size.
DETAIL_SIZE = 160


def cut_emotion(picture: NDArray[np.uint8], face: DetectedFace, encoder: EmotionEncoder, *, whole: bool) -> NDArray[np.uint8]:
    """A face of an (H, W, 3) picture as ``encoder`` reads it: (size, size, 3), by the crop that is stored with its weights.

    Args:
        whole: the picture is a crop already, and is read as it is.
    """
    convention = encoder.preprocessing
    return _cut(picture, face, convention.size, convention.crop, whole)


def read_emotions(encoder: EmotionEncoder, cuts: NDArray[np.uint8], batch_size: int | None = None) -> NDArray[np.float32]:
    """(N, 7) probabilities of (N, size, size, 3) faces cut by :func:`cut_emotion`: the mean over face and mirror image.

    ``batch_size`` of :meth:`EmotionEncoder.predict`.
    """
    return mirrored_distributions(encoder, cuts, batch_size)


def _cut(picture: NDArray[np.uint8], face: DetectedFace, size: int, crop: CropConfig | None, whole: bool) -> NDArray[np.uint8]:
    return colour_crops([picture], (size, size))[0] if whole else crop_face(picture, face, size, crop)


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
    cuts = {"emotion": cut_emotion(picture, face, encoder, whole=whole)}
    if explain:
        cuts["explain"] = _cut(picture, face, DETAIL_SIZE, encoder.preprocessing.crop, whole)
    if gender is not None:
        cuts["gender"] = _cut(picture, face, DETAIL_SIZE, gender.crop, whole)
    if gallery:
        cuts["gallery"] = crop_face(picture, face, DETAIL_SIZE)
    return cuts
