"""Where faces have their eyes and mouth, beside where the generator's faces should: what the landmark veto rests on."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from encoder.detection.face import BatchDetector
from eval.measures.accuracy import wilson
from generation.vetoes import EYE_DISTANCE, EYES, MOUTH, find_landmarks

QUANTILES = (0.5, 0.9, 0.95, 0.99)


def measure_placement(detector: BatchDetector, faces: npt.NDArray[np.uint8]) -> dict[str, Any]:
    """How far eyes and mouth of (N, S, S, 3) aligned faces lie from their place, in shares of the side.

    On real faces of the valid split this says which tolerances :mod:`generation.vetoes` needs; on generated ones, how many
    of them are faces with their eyes in place.

    Returns:
        ``faces``; the shares ``found`` and ``in_place``, each with a 95 % interval; and, of the faces found, quantiles of the
        distance of the eyes' middle (``eyes``), of the error of the eye distance, and of the mouth's distance.
    """
    marks = find_landmarks(detector, faces)
    seen = [each for each in marks if each.score > 0]
    off = {
        "eyes": [math.dist(each.eyes, EYES) for each in seen],
        "eye_distance": [abs(each.distance - EYE_DISTANCE) for each in seen],
        "mouth": [math.dist(each.mouth, MOUTH) for each in seen],
    }
    shares = {"found": len(seen), "in_place": sum(each.in_place for each in marks)}
    return {
        "faces": len(faces),
        **{name: {"share": round(hits / len(faces), 4), "interval": wilson(hits, len(faces))} for name, hits in shares.items()},
        "off": {
            name: {f"{share:g}": round(float(np.quantile(values, share)), 4) for share in QUANTILES} if values else None
            for name, values in off.items()
        },
    }
