"""Landmarks for every face of a data set: those it knows, or dlib's, found once and kept on disk."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from pathlib import Path

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from configs.cli import UserError
from encoder.data.face_set import FaceSet
from encoder.landmarks.features import NUM_LANDMARKS
from engine.storage.atomic import atomic_write_bytes

# Part of the name of every stored file: to be raised when landmarks are found in another way.
_VERSION = 1


def with_landmarks(faces: FaceSet, cache: Path | None) -> FaceSet:
    """``faces`` with a landmark column; drawn faces bring theirs, others are read by dlib and kept in the folder ``cache``,
    if any.

    Raises UserError: dlib or its landmark model cannot be had, or a stored file is damaged.
    """
    if faces.landmarks is not None:
        return faces
    path = cache / f"landmarks-{_digest(faces.images)}.safetensors" if cache is not None else None
    if path is not None and path.is_file():
        return dataclasses.replace(faces, landmarks=_stored(path, len(faces)))
    found = _find(faces.images)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write_bytes(path, safetensors.numpy.save({"landmarks": found}))
    return dataclasses.replace(faces, landmarks=found)


def _digest(images: NDArray[np.uint8]) -> str:
    from encoder.detection.dlib_models import POINTS_68, PUBLISHED_SHA256

    head = f"{_VERSION} {PUBLISHED_SHA256[POINTS_68]} {images.shape}".encode()
    return hashlib.blake2b(head + np.ascontiguousarray(images).tobytes(), digest_size=12).hexdigest()


def _stored(path: Path, count: int) -> NDArray[np.float32]:
    try:
        found = safetensors.numpy.load(path.read_bytes())["landmarks"]
    except Exception as error:  # safetensors' own errors, a missing name, an unreadable file
        raise UserError(f"{path}: damaged ({' '.join(str(error).split())}); delete it, and it is made again") from None
    if found.shape != (count, NUM_LANDMARKS, 2) or found.dtype != np.float32:
        raise UserError(f"{path}: holds {found.shape} {found.dtype}, not these faces' landmarks; delete it")
    return found


def _find(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    from tqdm import tqdm

    from encoder.detection.hog import PACKAGED, VARIABLE, DlibDetector

    detector = DlibDetector(os.environ.get(VARIABLE) or PACKAGED)
    rows = [detector.landmarks_of_crop(image) for image in tqdm(images, desc="landmarks", unit="face", disable=None)]
    return np.stack(rows) if rows else np.zeros((0, NUM_LANDMARKS, 2), np.float32)
