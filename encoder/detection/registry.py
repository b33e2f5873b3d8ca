"""Where the faces are in a picture: one interface, detectors by name."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping

from configs.cli import UserError
from encoder.detection.face import Detector


def _centerface() -> Detector:
    from encoder.detection.centerface import CenterFaceDetector

    return CenterFaceDetector()


def _haar() -> Detector:
    from encoder.detection.haar import HaarDetector

    return HaarDetector()


def _dlib(landmarks: str | None = None) -> Detector:
    from encoder.detection.hog import DlibDetector

    return DlibDetector(landmarks)


def _deepface(backend: str) -> Callable[[], Detector]:
    def create() -> Detector:
        from encoder.detection.deepface import DeepFaceDetector

        return DeepFaceDetector(backend)

    return create


DEFAULT_DETECTOR = "centerface"

# The backends of deepface 0.0.103, listed here so that --help and a spelling mistake do not import it (and torch).
DEEPFACE_BACKENDS = (
    "opencv", "ssd", "dlib", "mtcnn", "fastmtcnn", "retinaface", "mediapipe", "yunet", "centerface",
    "yolov8n", "yolov8m", "yolov8l", "yolov11n", "yolov11s", "yolov11m", "yolov11l",
    "yolov12n", "yolov12s", "yolov12m", "yolov12l",
)  # fmt: skip

_DETECTORS: Mapping[str, Callable[[], Detector]] = {
    "centerface": _centerface,
    "haar": _haar,
    "dlib": _dlib,
    **{f"deepface:{backend}": _deepface(backend) for backend in DEEPFACE_BACKENDS},
}


def list_detectors() -> list[str]:
    """Names that :func:`create_detector` knows; most need an extra package or a download."""
    return list(_DETECTORS)


def create_detector(name: str) -> Detector:
    """The detector of that name, ready to use; ``dlib:68`` and ``dlib:FILE`` name the landmark model as well.

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
