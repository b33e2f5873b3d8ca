"""What the landmark models answer, from their arrays alone: no scikit-learn, and nothing that could hold code.

Every function takes (N, F) float32 features, standardised, and returns (N, 7) float64 scores that are read as logits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from configs.cli import UserError
from encoder.emotions import NUM_EMOTIONS

Arrays = Mapping[str, NDArray[Any]]
Scorer = Callable[[Arrays, NDArray[np.float32]], NDArray[np.float64]]
_AT_ONCE = 1024
# A class that no tree and no neighbour names is unlikely, not impossible.
_LEAST = 1e-3


def dense(arrays: Arrays, x: NDArray[np.float32]) -> NDArray[np.float64]:
    """A stack of dense layers ``weight0`` (inputs, outputs), ``bias0``, ... with ReLU between them; one is linear."""
    values, layer = x.astype(np.float64), 0
    while f"weight{layer}" in arrays:
        values = (np.maximum(values, 0.0) if layer else values) @ arrays[f"weight{layer}"] + arrays[f"bias{layer}"]
        layer += 1
    return values


def trees(arrays: Arrays, x: NDArray[np.float32]) -> NDArray[np.float64]:
    """Log of the mean leaf distribution of a forest.

    All trees stand one behind the other: ``roots`` (T,), and per node ``feature``, ``threshold``, ``left`` and ``right``
    (-1: a leaf), ``shares`` (nodes, 7).
    """
    total = np.zeros((len(x), NUM_EMOTIONS))
    rows = np.arange(len(x))
    for root in arrays["roots"]:
        node = np.full(len(x), root, np.int64)
        inner = arrays["left"][node] >= 0
        # Children stand behind their parent, so that this ends.
        while inner.any():
            at = node[inner]
            goes_left = x[rows[inner], arrays["feature"][at]] <= arrays["threshold"][at]
            node[inner] = np.where(goes_left, arrays["left"][at], arrays["right"][at])
            inner = arrays["left"][node] >= 0
        total += arrays["shares"][node]
    return np.log(total / len(arrays["roots"]) + _LEAST)


def check_trees(arrays: Arrays, inputs: int) -> None:
    """Refuse trees that could run in a circle or read past an array.

    Raises UserError: children before their parent, or a feature or root that does not exist.
    """
    nodes = len(arrays["left"])
    place = np.arange(nodes)
    for name in ("left", "right"):
        child = arrays[name]
        if len(child) != nodes or ((child != -1) & ((child <= place) | (child >= nodes))).any():
            raise UserError(f"forest: {name} names a node that does not follow its parent; the file is damaged")
    leaf = arrays["left"] < 0
    inside = (arrays["feature"] >= 0) & (arrays["feature"] < inputs)
    if (leaf != (arrays["right"] < 0)).any() or not (inside | leaf).all():
        raise UserError("forest: a node with one child or without a feature; the file is damaged")
    if not len(arrays["roots"]) or (arrays["roots"] < 0).any() or (arrays["roots"] >= nodes).any():
        raise UserError("forest: a tree begins outside the nodes; the file is damaged")


def kernel(arrays: Arrays, x: NDArray[np.float32]) -> NDArray[np.float64]:
    """Support-vector machines of every pair of classes with a Gaussian kernel, their margins summed by class.

    ``vectors`` (V, F) sorted by class with ``counts`` (7,) of each; ``dual`` (6, V), ``offsets`` (21,) and ``gamma`` (1,)
    as LIBSVM has them (Chang & Lin, 2011, section 7). Each class receives its margins, squashed, against the six others.
    """
    ends = np.cumsum(arrays["counts"])
    parts = [slice(end - count, end) for end, count in zip(ends, arrays["counts"], strict=True)]
    scores = np.zeros((len(x), NUM_EMOTIONS))
    squares = (arrays["vectors"].astype(np.float64) ** 2).sum(axis=1)
    for start in range(0, len(x), _AT_ONCE):
        rows = x[start : start + _AT_ONCE].astype(np.float64)
        distances = (rows**2).sum(axis=1)[:, None] + squares - 2.0 * rows @ arrays["vectors"].T.astype(np.float64)
        near = np.exp(-arrays["gamma"][0] * np.maximum(distances, 0.0))
        for pair, (i, j) in enumerate(combinations(range(NUM_EMOTIONS), 2)):
            margin = near[:, parts[i]] @ arrays["dual"][j - 1, parts[i]] + near[:, parts[j]] @ arrays["dual"][i, parts[j]]
            margin = np.tanh(margin + arrays["offsets"][pair])
            scores[start : start + len(rows), i] += margin
            scores[start : start + len(rows), j] -= margin
    return scores


def neighbours(arrays: Arrays, x: NDArray[np.float32]) -> NDArray[np.float64]:
    """Log of the share of each class among the ``k`` (1,) nearest of ``vectors`` (V, F) with ``labels`` (V,)."""
    vectors, labels, k = arrays["vectors"], arrays["labels"], int(arrays["k"][0])
    squares = (vectors**2).sum(axis=1)
    scores = np.zeros((len(x), NUM_EMOTIONS))
    for start in range(0, len(x), _AT_ONCE):
        rows = x[start : start + _AT_ONCE]
        nearest = np.argpartition(squares - 2.0 * rows @ vectors.T, k - 1, axis=1)[:, :k]
        for emotion in range(NUM_EMOTIONS):
            scores[start : start + len(rows), emotion] = (labels[nearest] == emotion).mean(axis=1)
    return np.log(scores + _LEAST)


def booster(arrays: Arrays, x: NDArray[np.float32]) -> NDArray[np.float64]:
    """Raw scores of a LightGBM model kept in its own text format, as the bytes ``text``."""
    model = _parsed(arrays["text"].tobytes())
    return np.asarray(model.predict(x, raw_score=True), np.float64).reshape(len(x), NUM_EMOTIONS)


@lru_cache(maxsize=2)
def _parsed(text: bytes) -> Any:
    """The model of that text; kept, because reading it takes longer than a hundred faces."""
    lightgbm = import_extra("lightgbm")
    try:
        return lightgbm.Booster(model_str=text.decode())
    except (lightgbm.basic.LightGBMError, UnicodeDecodeError) as error:
        raise UserError(f"LightGBM cannot read this model ({' '.join(str(error).split())})") from None


def import_extra(package: str) -> Any:
    """A package of the extra ``ladder``. Raises UserError: it is missing."""
    import importlib

    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise UserError(f"models on landmarks need {package} ({error}); install the extra: pip install -e '.[ladder]'") from None


SCORERS: Mapping[str, Scorer] = {
    "landmarks-lightgbm": booster,
    "landmarks-forest": trees,
    "landmarks-linear-svc": dense,
    "landmarks-svc": kernel,
    "landmarks-knn": neighbours,
    "landmarks-mlp": dense,
    "landmarks-net": dense,
}
