"""DeepFace's networks for attributes and identity, called directly: its own ``analyze`` reads one picture at a time.

Nothing here happens unless a name beginning with ``deepface`` is asked for. The weights are then downloaded once by
DeepFace, from its own places and without a checksum, into ``$DEEPFACE_HOME/.deepface/weights``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoder.models.deepface_client import deepface_input, load_deepface

_ATTRIBUTE_SIZE = (224, 224)
# Faces that go through at once: 16 of 224 x 224 pixels need about 1 GB in the VGG trunk.
_BATCH = 16


class DeepFaceGender:
    """DeepFace's gender network (VGG-Face trunk, 134 M parameters, in colour)."""

    def __init__(self, device: str = "auto") -> None:
        self._client = load_deepface("facial_attribute", "Gender", device)

    def predict(self, faces: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """(N, 2) float32 probabilities of (female, male); faces as in :func:`encoder.pictures.colour_crops.colour_crops`."""
        return _in_batches(self._client, deepface_input(faces, _ATTRIBUTE_SIZE), (2,))


class DeepFaceAge:
    """DeepFace's age network: the mean of a distribution over 0 to 100 years, of apparent age."""

    def __init__(self, device: str = "auto") -> None:
        self._client = load_deepface("facial_attribute", "Age", device)

    def predict(self, faces: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """(N,) float32 apparent age in years; faces as in :func:`encoder.pictures.colour_crops.colour_crops`."""
        return _in_batches(self._client, deepface_input(faces, _ATTRIBUTE_SIZE), ())


def _in_batches(client: Any, batch: NDArray[np.float32], tail: tuple[int, ...]) -> NDArray[np.float32]:
    rows = [np.zeros((0, *tail), np.float32)]
    for start in range(0, len(batch), _BATCH):
        part = batch[start : start + _BATCH]
        # Of a single face DeepFace returns the bare answer, without the axis of faces.
        rows.append(np.asarray(client.predict(part), np.float32).reshape(len(part), *tail))
    return np.concatenate(rows)
