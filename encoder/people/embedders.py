"""Embedders by name: dlib's network, which works offline with the extra ``dlib``, and DeepFace's, which it downloads.

They belong to others and are not shipped. They judge and choose nothing: none is part of a loss or of a selection.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from configs.cli import UserError
from encoder.people.embeddings import Embedder, Metric
from encoder.pictures.colour_crops import colour_crops

DEFAULT_EMBEDDER = "dlib"
# Sides of a crop in which the landmarks are looked for, and of the cut that the network takes; length of its vectors.
_LOOKED_AT, _CHIP, _DIMENSIONS = 160, 150, 128


class DeepFaceEmbedder:
    """Any of DeepFace's recognition networks, compared by cosine with the threshold that DeepFace publishes for it."""

    metric: Metric = "cosine"

    def __init__(self, model: str, device: str = "auto") -> None:
        from encoder.models.deepface_client import import_deepface, load_deepface

        self.name = f"deepface:{model}"
        self._client = load_deepface("facial_recognition", model, device)
        self.threshold = float(import_deepface("deepface.config.threshold").thresholds[model][self.metric])

    def embed(self, crops: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """See :class:`Embedder`."""
        from encoder.models.deepface_client import deepface_input, in_batches

        # DeepFace writes shapes as width, height.
        width, height = self._client.input_shape
        return in_batches(self._client.forward, deepface_input(crops, (height, width)), self._client.output_shape)


class DlibEmbedder:
    """dlib's residual network with 128 numbers a face; its author calls faces nearer than 0.6 the same person (King, 2017).

    The five landmarks of the same author turn and cut each crop as the network learned it: of 200 people of LFW, two
    photographs each, pairs and strangers lie 4.64 standard deviations apart so, and 4.07 where crops are only resized.

    Args:
        weights: None: the published network, from the extra. Name no file of unknown origin: dlib does not defend itself
            against made-up ones.

    Raises:
        UserError: the package dlib, the landmarks or the network is missing, is another file, or cannot be read.
    """

    metric: Metric = "euclidean"
    threshold = 0.6

    def __init__(self, weights: str | Path | None = None) -> None:
        from encoder.detection.dlib_models import FIVE_POINTS, INSTALL, RECOGNITION, published_model
        from engine.storage.weights import file_sha256

        try:
            import dlib
        except ImportError:
            raise UserError(f"the dlib embedder needs the package dlib; {INSTALL}") from None
        points = published_model(FIVE_POINTS, "the dlib embedder")
        path = published_model(RECOGNITION, "the dlib embedder") if weights is None else Path(weights).expanduser()
        if not path.is_file():
            raise UserError(f"{path}: no such file; --embedder dlib takes the published one, from the extra")
        try:
            self._network: Any = dlib.face_recognition_model_v1(str(path))
            self._points: Any = dlib.shape_predictor(str(points))
        except RuntimeError as error:
            raise UserError(f"{path}: dlib cannot read it ({' '.join(str(error).split())}); {INSTALL}") from None
        self._dlib: Any = dlib
        # With the hash, because a cache must tell one file of that name from another.
        self.name = f"dlib:{path.name} ({file_sha256(path)[:12]})"

    def embed(self, crops: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """See :class:`Embedder`."""
        seen = colour_crops(crops, (_LOOKED_AT, _LOOKED_AT))
        rows = [np.asarray(self._network.compute_face_descriptor(self._chip(crop)), np.float32) for crop in seen]
        return np.stack(rows) if rows else np.zeros((0, _DIMENSIONS), np.float32)

    def _chip(self, crop: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """(150, 150, 3): turned, scaled and cut by five landmarks; the face is looked for where a tight crop has it."""
        from encoder.detection.hog import CROP_BOX

        left, top, side = (round(share * _LOOKED_AT) for share in CROP_BOX)
        usual = self._dlib.rectangle(left, top, left + side - 1, top + side - 1)
        chip: NDArray[np.uint8] = self._dlib.get_face_chip(crop, self._points(crop, usual), _CHIP)
        return chip


def create_embedder(name: str, *, device: str = "auto") -> Embedder:
    """An embedder by name.

    Args:
        name: ``dlib``; ``dlib:FILE`` with weights of one's own for that network; or ``deepface:MODEL``
            (``deepface:Facenet512``, ``deepface:ArcFace``, ...; weights are downloaded at first use).
        device: ``auto``, ``cpu`` or ``cuda``, for DeepFace's.

    Raises:
        UserError: an unknown name, a missing package, or weights that cannot be had.
    """
    kind, _, rest = name.partition(":")
    if kind == "deepface" and rest:
        return DeepFaceEmbedder(rest, device)
    if kind == "dlib":
        return DlibEmbedder(rest or None)
    raise UserError(f"embedder {name!r}: choose dlib, dlib:FILE, or deepface:MODEL, such as deepface:Facenet512")
