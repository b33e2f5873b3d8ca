"""DeepFace's gender network, called directly: DeepFace's own ``analyze`` reads one picture at a time.

Nothing here happens unless a name beginning with ``deepface`` is asked for. The weights are then downloaded once by
DeepFace, from its own places and without a checksum, into ``$DEEPFACE_HOME/.deepface/weights``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from encoder.models.deepface_client import deepface_input, in_batches, load_deepface


class DeepFaceGender:
    """DeepFace's gender network (VGG-Face trunk, 134 M parameters, in colour)."""

    def __init__(self, device: str = "auto") -> None:
        self._client = load_deepface("facial_attribute", "Gender", device)

    def predict(self, faces: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """(N, 2) float32 probabilities of (female, male); faces as in :func:`encoder.pictures.colour_crops.colour_crops`."""
        return in_batches(self._client.predict, deepface_input(faces, (224, 224)), 2)
