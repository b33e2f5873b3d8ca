"""The parts of the table that are counted from faces, as pure functions of what was seen in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from encoder.attributes.labels import ATTRIBUTES as PROBED
from encoder.detection.face import BatchDetector, DetectedFace
from encoder.emotions import EMOTION_NAMES
from eval.measures.accuracy import wilson
from eval.measures.distances import bootstrap
from eval.measures.placement import measure_placement
from eval.realism.faces import Drawn
from vqvae.attributes import ATTRIBUTES, AttributeName

Figures = dict[str, Any]
# What is looked for in a face, by the probe's word for it.
LOOKED_FOR = ("object", "closed")
THRESHOLD = 0.5
_AT_ONCE = 32


def share(hits: int, faces: int) -> Figures | None:
    """A share with Wilson's 95 % interval and the faces it is of; None of none."""
    return {"value": round(hits / faces, 4), "interval": wilson(hits, faces), "faces": faces} if faces else None


def took(drawn: Drawn) -> Figures:
    """Of each emotion and of ``all``: how many first draws were accepted by their emotion alone, how many verified faces
    were asked for and delivered, from how many draws, and who refused the others."""
    found: Figures = {}
    rows = zip(EMOTION_NAMES, drawn.first.faces, drawn.verified.faces, drawn.tried, drawn.refused, strict=True)
    for name, first, verified, tried, refused in rows:
        accepted = share(sum(face.verdict.accepted for face in first), len(first))
        found[name] = {"asked": len(first), "delivered": len(verified), "tried": tried, "refused": dict(refused),
                       "first_draws_accepted": accepted}  # fmt: skip
    refused_by = sum((Counter(dict(each)) for each in drawn.refused), Counter[str]())
    total = {key: sum(row[key] for row in found.values()) for key in ("asked", "delivered", "tried")}
    accepted = share(sum(face.verdict.accepted for face in drawn.first.all), len(drawn.first))
    return {"all": {**total, "refused": dict(refused_by), "first_draws_accepted": accepted}, **found}


def shown(probabilities: Sequence[NDArray[np.floating]]) -> Figures:
    """Shares of faces that show each of :data:`LOOKED_FOR`, of ``all`` and of each emotion.

    Args:
        probabilities: (N, 5) of the probe for the faces of each emotion.
    """
    groups = {"all": np.concatenate(list(probabilities)), **dict(zip(EMOTION_NAMES, probabilities, strict=True))}
    return {
        what: {name: share(int((rows[:, PROBED.index(what)] >= THRESHOLD).sum()), len(rows)) for name, rows in groups.items()}
        for what in LOOKED_FOR
    }


class _InParts:
    """A detector that shows how far it is."""

    def __init__(self, detector: BatchDetector) -> None:
        self._detector = detector

    def detect(self, picture: NDArray[np.uint8]) -> list[DetectedFace]:
        return self._detector.detect(picture)

    def detect_all(self, pictures: Iterable[NDArray[np.uint8]]) -> list[list[DetectedFace]]:
        all_of_them = list(pictures)
        found: list[list[DetectedFace]] = []
        with tqdm(total=len(all_of_them), desc="eyes in place", unit="face", leave=False, disable=None) as bar:
            for start in range(0, len(all_of_them), _AT_ONCE):
                part = all_of_them[start : start + _AT_ONCE]
                found += self._detector.detect_all(part)
                bar.update(len(part))
        return found


def placed(detector: BatchDetector, faces: NDArray[np.uint8]) -> Figures | None:
    """:func:`eval.measures.placement.measure_placement` of (N, C, S, S) faces; None of none."""
    if not len(faces):
        return None
    colour = np.broadcast_to(faces, (len(faces), 3, *faces.shape[2:]))
    return measure_placement(_InParts(detector), np.ascontiguousarray(colour.transpose(0, 2, 3, 1)))


def mean(values: NDArray[np.floating], rounds: int) -> Figures | None:
    """Mean with its bootstrap interval and the faces it is of; None of none."""
    if not len(values):
        return None
    low, high = bootstrap(lambda rows: float(values[rows].mean()), len(values), rounds=rounds)
    return {"value": round(float(values.mean()), 4), "interval": [round(low, 4), round(high, 4)], "faces": len(values)}


def told(records: Sequence[Mapping[str, str | None]], names: Sequence[AttributeName]) -> Figures:
    """Of each attribute the shares of its classes among faces, by what the prior was told of each; ``None``: nothing."""
    found: Figures = {}
    for name in names:
        counts = Counter(record.get(name) for record in records)
        classes: list[str | None] = [*ATTRIBUTES[name], *([None] if counts[None] else [])]
        found[name] = {str(each): share(counts[each], len(records)) for each in classes}
    return found
