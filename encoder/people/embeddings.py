"""Networks that describe a face by a vector, so that faces of one person lie near each other: dlib's and DeepFace's.

Both belong to others and are not shipped. What a distance means, and below which one two faces count as one person, is
theirs, too, and comes with the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from configs.cli import UserError
from encoder.pictures.colour_crops import colour_crops
from engine.storage.weights import file_sha256

Metric = Literal["cosine", "euclidean"]
_DLIB_SIZE = 150


class Embedder(Protocol):
    """A network and its published rule for "the same person".

    Attributes:
        name: what it is called in messages and in caches; another network has another name.
        metric: how its vectors are compared; see :func:`distances`.
        threshold: largest distance at which its authors call two faces the same person.
    """

    name: str
    metric: Metric
    threshold: float

    def embed(self, crops: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """(N, D) float32 vectors of cropped (H, W, 3) uint8 RGB faces."""
        ...


def distances(a: NDArray[np.float32], b: NDArray[np.float32], metric: Metric) -> NDArray[np.float64]:
    """(N, M) distances of (N, D) to (M, D) vectors.

    ``cosine`` is one minus the cosine of the angle, 0 to 2 (a vector of length zero is 1 from all); ``euclidean`` the
    length of the difference.
    """
    from scipy.spatial.distance import cdist

    # scipy gives no number where a vector has no direction.
    return np.nan_to_num(cdist(a.astype(np.float64), b.astype(np.float64), metric), nan=1.0)


def checked_embeddings(embedder: Embedder, crops: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """What ``embedder`` says of ``crops``, once it is sure to be one finite vector each. Raises UserError: it is not."""
    vectors = np.asarray(embedder.embed(crops), np.float32)
    if vectors.ndim != 2 or len(vectors) != len(crops):
        raise UserError(f"{embedder.name}: gave {vectors.shape} for {len(crops)} faces; one vector each is needed")
    if not np.isfinite(vectors).all():
        bad = int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0])
        raise UserError(f"{embedder.name}: its vector for face {bad} is not finite; the weights may be damaged")
    return vectors


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

    ``weights`` is ``dlib_face_recognition_resnet_model_v1.dat``, which dlib publishes and the user downloads. Name no file of
    unknown origin: dlib does not defend itself against made-up ones. Raises UserError: the package dlib or the file is
    missing, or dlib cannot read it.
    """

    metric: Metric = "euclidean"
    threshold = 0.6

    def __init__(self, weights: str | Path) -> None:
        try:
            import dlib
        except ImportError:
            raise UserError("the dlib embedder needs the package dlib; install the extra: pip install -e '.[dlib]'") from None
        path = Path(weights).expanduser()
        if not path.is_file():
            raise UserError(f"{path}: no such file; {_DLIB_MEND}")
        try:
            self._network: Any = dlib.face_recognition_model_v1(str(path))
        except RuntimeError as error:
            raise UserError(f"{path}: dlib cannot read it ({' '.join(str(error).split())}); {_DLIB_MEND}") from None
        # With the hash, because a cache must tell one file of that name from another.
        self.name = f"dlib:{path.name} ({file_sha256(path)[:12]})"

    def embed(self, crops: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """See :class:`Embedder`."""
        chips = colour_crops(crops, (_DLIB_SIZE, _DLIB_SIZE))
        rows = [np.asarray(self._network.compute_face_descriptor(chip), np.float32) for chip in chips]
        return np.stack(rows) if rows else np.zeros((0, 128), np.float32)


_DLIB_MEND = (
    "download http://dlib.net/files/dlib_face_recognition_resnet_model_v1.dat.bz2, unpack it with bunzip2 and name it as "
    "dlib:FILE"
)


def create_embedder(name: str, *, device: str = "auto") -> Embedder:
    """An embedder by name.

    Args:
        name: ``deepface:MODEL`` (``deepface:Facenet512``, ``deepface:ArcFace``, ...; weights are downloaded at first use)
            or ``dlib:FILE`` with dlib's published weights.
        device: ``auto``, ``cpu`` or ``cuda``, for DeepFace's.

    Raises:
        UserError: an unknown name, a missing package, or weights that cannot be had.
    """
    kind, _, rest = name.partition(":")
    if kind == "deepface" and rest:
        return DeepFaceEmbedder(rest, device)
    if kind == "dlib":
        if not rest:
            raise UserError(f"embedder dlib: which weights? {_DLIB_MEND}")
        return DlibEmbedder(rest)
    raise UserError(f"embedder {name!r}: choose deepface:MODEL, such as deepface:Facenet512, or dlib:FILE")
