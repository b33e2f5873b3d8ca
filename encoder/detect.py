"""Where the faces are in a picture: one interface, detectors by name."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from configs.cli import UserError


@dataclass(frozen=True, eq=False)
class Face:
    """One face in a picture.

    Attributes:
        box: left, top, width and height in pixels; it may reach over the border of the picture.
        score: how sure the detector is, higher is surer, on the detector's own scale: compare it within one detector
            only. None where the detector gives none.
        landmarks: (K, 2) float32 x and y in pixels; K is 2 (the two eyes), 5 (eyes, nose, corners of the mouth) or 68
            (iBUG 300-W order). None where the detector found none. "Left" is always the left of the picture.
    """

    box: tuple[int, int, int, int]
    score: float | None = None
    landmarks: NDArray[np.float32] | None = None

    @property
    def area(self) -> int:
        """Pixels inside the box."""
        return self.box[2] * self.box[3]

    @property
    def eyes(self) -> NDArray[np.float32] | None:
        """(2, 2) centres of the eye on the left and on the right of the picture, or None."""
        if self.landmarks is None:
            return None
        if len(self.landmarks) == 68:
            return np.stack([self.landmarks[36:42].mean(axis=0), self.landmarks[42:48].mean(axis=0)])
        return self.landmarks[:2]

    @property
    def mouth(self) -> NDArray[np.float32] | None:
        """(2,) centre of the mouth, or None where there are no landmarks but the eyes."""
        if self.landmarks is None or len(self.landmarks) < 5:
            return None
        return (self.landmarks[48:] if len(self.landmarks) == 68 else self.landmarks[3:5]).mean(axis=0)


class Detector(Protocol):
    """Finds faces; made once by :func:`create_detector`, used for many pictures."""

    def detect(self, picture: NDArray[np.uint8]) -> list[Face]:
        """Faces of an (H, W, 3) uint8 RGB picture, the largest first; an empty list where there is none.

        Raises:
            UserError: the detector itself cannot work (a file or a package is missing).
        """
        ...


def _haar() -> Detector:
    from encoder.detect_haar import HaarDetector

    return HaarDetector()


def _dlib(landmarks: str | None = None) -> Detector:
    from encoder.detect_dlib import DlibDetector

    return DlibDetector(landmarks)


def _deepface(backend: str) -> Callable[[], Detector]:
    def create() -> Detector:
        from encoder.detect_deepface import DeepFaceDetector

        return DeepFaceDetector(backend)

    return create


# The backends of deepface 0.0.103, listed here so that --help and a spelling mistake do not import it (and torch).
DEEPFACE_BACKENDS = (
    "opencv", "ssd", "dlib", "mtcnn", "fastmtcnn", "retinaface", "mediapipe", "yunet", "centerface",
    "yolov8n", "yolov8m", "yolov8l", "yolov11n", "yolov11s", "yolov11m", "yolov11l",
    "yolov12n", "yolov12s", "yolov12m", "yolov12l",
)  # fmt: skip

_DETECTORS: Mapping[str, Callable[[], Detector]] = {
    "haar": _haar,
    "dlib": _dlib,
    **{f"deepface:{backend}": _deepface(backend) for backend in DEEPFACE_BACKENDS},
}


def list_detectors() -> list[str]:
    """Names that :func:`create_detector` knows; most need an extra package or a download."""
    return list(_DETECTORS)


def create_detector(name: str) -> Detector:
    """The detector of that name, ready to use; ``dlib:FILE`` names the landmark model as well.

    Raises:
        UserError: unknown name, or a package or file that it needs is missing.
    """
    if name.startswith("dlib:"):
        return _dlib(name.removeprefix("dlib:"))
    create = _DETECTORS.get(name)
    if create is None:
        near = difflib.get_close_matches(name, _DETECTORS, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise UserError(f"unknown detector {name!r}: {hint}known are {', '.join(_DETECTORS)}")
    return create()


def largest_first(faces: list[Face]) -> list[Face]:
    """By area, then from left to right, so that the order never depends on the detector's inner workings."""
    return sorted(faces, key=lambda face: (-face.area, face.box))
