"""What a network offers that describes a face by a vector, so that faces of one person lie near each other.

What a distance means, and below which one two faces count as one person, comes with the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from configs.cli import UserError

Metric = Literal["cosine", "euclidean"]


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
