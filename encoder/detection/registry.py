"""Where the faces are in a picture: one interface, detectors by name."""

from __future__ import annotations

import difflib

from configs.cli import UserError
from encoder.detection.face import Detector

DEFAULT_DETECTOR = "centerface"

# The backends of deepface 0.0.103, listed here so that --help and a spelling mistake do not import it (and torch).
DEEPFACE_BACKENDS = (
    "opencv", "ssd", "dlib", "mtcnn", "fastmtcnn", "retinaface", "mediapipe", "yunet", "centerface",
    "yolov8n", "yolov8m", "yolov8l", "yolov11n", "yolov11s", "yolov11m", "yolov11l",
    "yolov12n", "yolov12s", "yolov12m", "yolov12l",
)  # fmt: skip

_NAMES = ("centerface", "haar", "dlib", *(f"deepface:{backend}" for backend in DEEPFACE_BACKENDS))


def list_detectors() -> list[str]:
    """Names that :func:`create_detector` knows; most need an extra package or a download."""
    return list(_NAMES)


def create_detector(name: str) -> Detector:
    """The detector of that name, ready to use; ``dlib:68`` and ``dlib:FILE`` name the landmark model as well.

    Raises:
        UserError: unknown name, or a package or file that it needs is missing.
    """
    kind, _, rest = name.partition(":")
    if name not in _NAMES and kind != "dlib":
        near = difflib.get_close_matches(name, _NAMES, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise UserError(f"unknown detector {name!r}: {hint}known are {', '.join(_NAMES)}")
    if kind == "centerface":
        from encoder.detection.centerface import CenterFaceDetector

        return CenterFaceDetector()
    if kind == "haar":
        from encoder.detection.haar import HaarDetector

        return HaarDetector()
    if kind == "dlib":
        from encoder.detection.hog import DlibDetector

        return DlibDetector(rest or None)
    from encoder.detection.deepface import DeepFaceDetector

    return DeepFaceDetector(rest)
