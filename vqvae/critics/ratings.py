"""Made faces and what somebody said of each by eye: 0 malformed, 1 passable, 2 believable. And a critic fitted on that."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors.numpy
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from torch import Tensor

from configs.cli import UserError
from encoder.emotions import EMOTION_NAMES
from encoder.evaluation.metrics import area_under_curve
from engine.storage.atomic import atomic_write_bytes

KIND = "mimique ratings"
RATINGS = Path(__file__).with_name("ratings.safetensors")
BELIEVABLE = 2
# Weakest last: the largest area under the curve of faces that were held out chooses.
PENALTIES = (30.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.03)
FOLDS = 10


@dataclass(frozen=True)
class Ratings:
    """N made faces.

    Attributes:
        tokens: (N, L, G) int64. emotion: (N,) what was asked for, in enum order. rating: (N,) 0 to 2.
        tokenizer_sha256: ``encoding_sha256`` of the maker of the tokens.
    """

    tokens: NDArray[np.int64]
    emotion: NDArray[np.int64]
    rating: NDArray[np.int64]
    tokenizer_sha256: str

    def save(self, path: Path, how: str) -> None:
        """Write the table; ``how`` says who looked at which faces. Raises UserError: it cannot be written."""
        about = {"kind": KIND, "tokenizer": self.tokenizer_sha256, "how": how}
        arrays: dict[str, NDArray[Any]] = {
            "tokens": self.tokens.astype(np.int16),
            "emotion": self.emotion.astype(np.int8),
            "rating": self.rating.astype(np.int8),
        }
        atomic_write_bytes(path, safetensors.numpy.save(arrays, {"about": json.dumps(about)}))


def read_ratings(path: Path = RATINGS) -> Ratings:
    """The table in a file that :meth:`Ratings.save` wrote.

    Raises:
        UserError: no such file, a damaged one, or values that are none.
    """
    try:
        with safe_open(path, "numpy") as file:
            about: Any = json.loads((file.metadata() or {}).get("about", "{}"))
            arrays = {name: file.get_tensor(name).astype(np.int64) for name in ("tokens", "emotion", "rating")}
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; name a table of ratings") from None
    except (OSError, SafetensorError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}); copy it again") from None
    if not isinstance(about, dict) or about.get("kind") != KIND:
        raise UserError(f"{path}: holds no ratings of faces")
    tokens, emotion, rating = arrays["tokens"], arrays["emotion"], arrays["rating"]
    right = tokens.ndim == 3 and emotion.shape == rating.shape == tokens.shape[:1]
    if not right or not len(rating) or tokens.min() < 0:
        raise UserError(f"{path}: tokens, emotion and rating do not fit each other; it is damaged, copy it again")
    for name, values, most in (("emotion", emotion, len(EMOTION_NAMES) - 1), ("rating", rating, BELIEVABLE)):
        if values.min() < 0 or values.max() > most:
            raise UserError(f"{path}: {name} must lie in 0 to {most}")
    return Ratings(tokens, emotion, rating, str(about.get("tokenizer", "")))


class Fitted(NamedTuple):
    """A ridge regression of the rating.

    Attributes:
        weight: (D,) and ``bias``: of features as they are; 0 is half-way between malformed and passable.
        penalty: chosen. held_out: (N,) what regressions said of each face that did not see it.
    """

    weight: Tensor
    bias: float
    penalty: float
    held_out: NDArray[np.float64]


def fit_ratings(features: Tensor, ratings: Ratings, seed: int = 0) -> Fitted:
    """Fit on all faces, with the penalty under which faces that are held out are told best.

    Args:
        features: (N, D) of the faces as they are painted. seed: of the folds.

    Raises:
        UserError: fewer than ``FOLDS`` faces that are malformed, or that are not.
    """
    x, y = features.double().numpy(), ratings.rating.astype(np.float64)
    whole = ratings.rating > 0
    if min(whole.sum(), (~whole).sum()) < FOLDS:
        raise UserError(f"ratings: at least {FOLDS} malformed faces and as many others are needed")
    folds = np.empty(len(y), np.int64)
    order = np.random.default_rng(seed).permutation(len(y))
    order = order[np.argsort(ratings.emotion[order] * (BELIEVABLE + 1) + ratings.rating[order], kind="stable")]
    folds[order] = np.arange(len(y)) % FOLDS
    held_out = {penalty: np.zeros(len(y)) for penalty in PENALTIES}
    for fold in range(FOLDS):
        inside = folds != fold
        for penalty, (weight, bias) in zip(PENALTIES, _ridge(x[inside], y[inside], PENALTIES), strict=True):
            held_out[penalty][~inside] = x[~inside] @ weight + bias
    best = max(PENALTIES, key=lambda penalty: areas(held_out[penalty], ratings)["within"])
    ((weight, bias),) = _ridge(x, y, (best,))
    return Fitted(torch.from_numpy(weight).float(), bias - 0.5, best, held_out[best] - 0.5)


def _ridge(x: NDArray[np.float64], y: NDArray[np.float64], penalties: Sequence[float]) -> list[tuple[NDArray[np.float64], float]]:
    """Weights and bias for each penalty, by the kernel: there are more numbers than faces."""
    mean, deviation = x.mean(axis=0), x.std(axis=0)
    # A channel that hardly moves would be blown up. Rows have length 1, so that penalties mean the same for any width.
    scale = (deviation + 1e-3 * deviation.mean() + 1e-6) * x.shape[1] ** 0.5
    z = (x - mean) / scale
    values, vectors = np.linalg.eigh(z @ z.T)
    turned = vectors.T @ (y - y.mean())
    found = []
    for penalty in penalties:
        weight = (z.T @ (vectors @ (turned / (values + penalty)))) / scale
        found.append((weight, float(y.mean() - mean @ weight)))
    return found


def areas(scores: NDArray[np.floating], ratings: Ratings) -> dict[str, float]:
    """Areas under the ROC curve: ``whole``, malformed faces against all others; ``believable``, these against all others;
    ``within``, the mean of ``whole`` over the emotions that have both kinds, in which no emotion tells for another."""
    whole, believable = ratings.rating > 0, ratings.rating == BELIEVABLE
    exact = np.asarray(scores, np.float64)
    within = [
        area_under_curve(whole[mine], exact[mine]) for mine in (ratings.emotion == each for each in range(len(EMOTION_NAMES)))
    ]
    known = [area for area in within if not np.isnan(area)]
    return {
        "whole": area_under_curve(whole, exact),
        "believable": area_under_curve(believable, exact),
        "within": float(np.mean(known)) if known else 0.0,
    }
