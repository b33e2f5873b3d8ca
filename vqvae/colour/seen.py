"""What the attribute probe sees of faces: hands and closed eyes are told to the prior; text and drawings it never learns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from encoder.attributes.labels import ATTRIBUTES as PROBED
from encoder.attributes.probe import FaceAttributes
from vqvae.attributes import NOT_TOLD, AttributeName
from vqvae.faces import TrainingFaces

# Which of the probe's answers is told as what.
_TOLD: dict[AttributeName, str] = {"hands": "object", "eyes": "closed"}
# Between these nothing is told: the probe is right about most faces and sure of few.
UNSURE = (0.35, 0.65)
# A face with so much of these is left out. Higher than where the probe is most often right: at its own bar for text half of
# all surprised faces would go, whose open mouths it takes for letters.
LEFT_OUT = {"text": 0.5, "unreal": 0.35}


def with_seen_attributes(faces: TrainingFaces, probe: FaceAttributes) -> TrainingFaces:
    """``faces`` with the attributes ``hands`` and ``eyes`` as the probe sees them, without text and drawings."""
    seen = probe.predict(faces.images)
    columns = dict(zip(PROBED, seen.T, strict=True))
    told = {name: classes(columns[column]) for name, column in _TOLD.items()}
    kept = np.all([columns[name] < bar for name, bar in LEFT_OUT.items()], axis=0)
    return replace(faces, attributes={**faces.attributes, **told}).part(np.flatnonzero(kept))


def classes(share: np.ndarray) -> np.ndarray:
    """(N,) int8: 0 or 1 where the probability is clear, ``NOT_TOLD`` where it is not."""
    low, high = UNSURE
    return np.where(share >= high, 1, np.where(share <= low, 0, NOT_TOLD)).astype(np.int8)
