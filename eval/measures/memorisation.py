"""Does the generator copy its training faces? Nearest training faces of made and of held-out real faces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from encoder.evaluation.metrics import area_under_curve
from eval.measures.accuracy import wilson
from eval.measures.distances import bootstrap

_CHUNK = 256


@dataclass(frozen=True)
class Nearest:
    """(N,) distance to the nearest training face, and its row."""

    distance: npt.NDArray[np.float64]
    row: npt.NDArray[np.intp]


def nearest(queries: npt.NDArray[np.floating], train: npt.NDArray[np.floating], *, label: str = "") -> Nearest:
    """For each of (N, D) queries the nearest of (M, D) training rows: root mean square difference over the D numbers."""
    base = np.ascontiguousarray(train, np.float32)
    lengths = np.square(base).sum(axis=1)
    found, rows = [], []
    for start in tqdm(range(0, len(queries), _CHUNK), desc=f"nearest {label}", delay=1, leave=False, disable=None):
        chunk = np.asarray(queries[start : start + _CHUNK], np.float32)
        row = (lengths[None] - 2.0 * chunk @ base.T).argmin(axis=1)
        # In float32 the expanded square is off by more than the smallest distances; the winner's is taken directly.
        found.append(np.sqrt(np.square(chunk.astype(np.float64) - base[row]).mean(axis=1)))
        rows.append(row)
    return Nearest(np.concatenate(found), np.concatenate(rows))


def pixels(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """(N, S * S) grey levels in [0, 255] of (N, S, S) faces."""
    return images.reshape(len(images), -1).astype(np.float32)


def compare_nearest(made: Nearest, real: Nearest, *, rounds: int = 200, seed: int = 0) -> dict[str, Any]:
    """Made faces against held-out real ones by their distance to training faces.

    ``chance_nearer`` is the chance that a made face lies nearer to its nearest training face than a held-out real face
    does to its own: 0.5 for a generator as new as held-out faces, 1 for a copier (Meehan et al., 2020, with ranks). And the
    share of made faces that are nearer than all but the nearest hundredth of real ones: 0.01 is expected.
    """
    scores = np.concatenate([-made.distance, -real.distance])
    count = len(made.distance)
    positive = np.arange(len(scores)) < count

    def chance(rows: npt.NDArray[np.intp]) -> float:
        return area_under_curve(positive[rows], scores[rows])

    limit = float(np.quantile(real.distance, 0.01))
    close = int((made.distance < limit).sum())
    return {
        "faces": count,
        "median": round(float(np.median(made.distance)), 4),
        "smallest": round(float(made.distance.min()), 4),
        "median_of_real": round(float(np.median(real.distance)), 4),
        "smallest_of_real": round(float(real.distance.min()), 4),
        "chance_nearer": round(area_under_curve(positive, scores), 4),
        "chance_nearer_interval": [round(x, 4) for x in bootstrap(chance, len(scores), rounds=rounds, seed=seed)],
        "closer_than_hundredth": round(close / count, 4),
        "closer_than_hundredth_interval": wilson(close, count),
    }
