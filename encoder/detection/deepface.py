"""Faces by any detector of DeepFace, called ``deepface:retinaface``, ``deepface:yunet`` and so on.

Most of them download weights at first use, from DeepFace's own places and without a checksum, and some need a package
that DeepFace does not install; the error says which.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from configs.cli import UserError
from encoder.detection.face import DetectedFace, largest_first
from encoder.models.deepface_client import import_deepface, one_line


class DeepFaceDetector:
    """``score`` is what the backend calls confidence; landmarks are two eyes, or five points where it gives them.

    The backend is called on the picture as it is. DeepFace's own ``extract_faces`` would add black borders to it first.

    Raises:
        UserError: deepface, a package of the backend, or its weights cannot be had.
    """

    def __init__(self, backend: str) -> None:
        self._name = f"deepface:{backend}"
        modeling = import_deepface("deepface.modules.modeling")
        try:
            with warnings.catch_warnings():
                self._model = modeling.build_model(task="face_detector", model_name=backend)
                # Some backends fetch their weights only now: better here than at the first picture.
                self._model.detect_faces(np.zeros((96, 96, 3), np.uint8))
        except Exception as error:  # whatever a backend or its download raises; DeepFace promises no set
            raise UserError(f"detector {self._name}: cannot be loaded: {one_line(error)}") from None

    def detect(self, picture: NDArray[np.uint8]) -> list[DetectedFace]:
        """See :class:`encoder.detection.face.Detector`."""
        try:
            regions = self._model.detect_faces(np.ascontiguousarray(picture[..., ::-1]))
        except Exception as error:
            raise UserError(f"detector {self._name} failed on this picture: {one_line(error)}") from None
        height, width = picture.shape[:2]
        return largest_first([face for region in regions if (face := _to_face(region, width, height)) is not None])


def _to_face(region: Any, width: int, height: int) -> DetectedFace | None:
    x, y, w, h = (int(value) for value in (region.x, region.y, region.w, region.h))
    if w < 1 or h < 1 or x >= width or y >= height or x + w <= 0 or y + h <= 0:
        return None
    # DeepFace names eyes from the person's side; backends disagree, so the picture decides.
    eyes = _pair(region.left_eye, region.right_eye)
    mouth = _pair(region.mouth_left, region.mouth_right)
    landmarks = eyes
    if eyes is not None and mouth is not None and region.nose is not None:
        landmarks = np.concatenate([eyes, np.asarray([region.nose], np.float32), mouth])
    score = None if region.confidence is None else float(region.confidence)
    return DetectedFace((x, y, w, h), score, landmarks)


def _pair(one: Any, other: Any) -> NDArray[np.float32] | None:
    """Two points, the left one of the picture first; None unless both are known."""
    if one is None or other is None:
        return None
    points = np.asarray([one, other], np.float32)
    return points[np.argsort(points[:, 0], kind="stable")]
