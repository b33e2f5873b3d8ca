"""What a training of the encoder is shown and asked for: crops of each face, and a target for each head."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from encoder.config import EncoderConfig
from encoder.data.face_set import FaceSet
from encoder.emotions import NUM_EMOTIONS
from encoder.fitting.rebalancing import sampling_weights


@dataclass(frozen=True, eq=False)
class Lessons:
    """N faces to learn from.

    Attributes:
        crops: (N, V, S, S) uint8 grey; all V of a face are shown together.
        targets: per head (N, classes) float32 distributions; a row of zeros is a face that this head learns nothing from.
        weights: (N,) float64 relative frequency with which each face is drawn; None: every face once an epoch.
    """

    crops: Tensor
    targets: Mapping[str, Tensor]
    weights: Tensor | None


def labelled_targets(faces: FaceSet, smoothing: float) -> dict[str, Tensor]:
    """Targets by what people said: smoothed one-hot labels for ``fer2013``, distributions of votes for ``ferplus``."""
    labels = torch.from_numpy(faces.labels.astype("int64"))
    smooth = F.one_hot(labels.clamp(min=0), NUM_EMOTIONS).float() * (1 - smoothing) + smoothing / NUM_EMOTIONS
    return {"fer2013": smooth * (labels >= 0).float().unsqueeze(1), "ferplus": torch.from_numpy(faces.votes)}


def labelled_lessons(faces: FaceSet, config: EncoderConfig) -> Lessons:
    """The faces as they are, one crop each. Raises UserError: see :func:`encoder.fitting.rebalancing.sampling_weights`."""
    weights = sampling_weights(faces, config.train.sampling)
    return Lessons(
        crops=torch.from_numpy(faces.images).unsqueeze(1),
        targets=labelled_targets(faces, config.train.label_smoothing),
        weights=None if weights is None else torch.from_numpy(weights),
    )
