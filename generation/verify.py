"""Does a face show what was asked for? The encoder's answer, against a distribution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from encoder.emotions import Emotion, as_mapping
from encoder.inference.prediction import ByEmotion

# An emotion counts as asked for when its weight is at least this share of the largest: 0.7 fear with 0.3 surprise is a
# request for fear, half and half is one for either.
SHARE_OF_TOP = 0.5
# Who refused a face, in the order in which they are asked.
Cause = Literal["emotion", "realism", "attributes", "landmarks"]
CAUSES: tuple[Cause, ...] = get_args(Cause)


@dataclass(frozen=True)
class Verdict(ByEmotion):
    """The encoder's reading of one face: ``verdict["fear"]`` is a probability, ``verdict.top`` the likeliest emotion.

    Attributes:
        distribution: calibrated probabilities of the seven, enum order.
        top: the likeliest emotion.
        match: overlap with the request, ``sum(min(asked, read))`` in [0, 1]; for one pure emotion its probability. What
            was to be avoided and is read all the same is taken off, down to 0.
        accepted: ``top`` was asked for and ``match`` reaches the threshold.
    """

    distribution: tuple[float, ...]
    top: Emotion
    match: float
    accepted: bool

    def __str__(self) -> str:
        """``"fear 0.83"``, as it stands under a face."""
        return f"{self.top.label} {self.distribution[self.top]:.2f}"

    def to_dict(self) -> dict[str, Any]:
        """``top`` by name, ``match``, ``accepted``, then the seven probabilities by name."""
        mine = {"top": self.top.label, "match": self.match, "accepted": self.accepted}
        return {**mine, **as_mapping(self.distribution)}

    def as_record(self) -> dict[str, Any]:
        """What every manifest says of a reading."""
        return {"match": round(self.match, 4), "top": self.top.label, "distribution": rounded(self.distribution)}


def rounded(distribution: Sequence[float]) -> dict[str, float]:
    """A distribution by name, to four digits, for a manifest."""
    return {name: round(p, 4) for name, p in as_mapping(distribution).items()}


def wanted_tops(asked: Sequence[float]) -> tuple[Emotion, ...]:
    """The emotions that may come out on top for this request."""
    largest = max(asked)
    return tuple(emotion for emotion in Emotion if asked[emotion] >= SHARE_OF_TOP * largest)


def judge(asked: Sequence[float], read: Sequence[float], threshold: float, avoid: Sequence[float] | None = None) -> Verdict:
    """Compare the distribution that was asked for with the one that was read, both over the seven in enum order.

    Every emotion with a positive weight in ``avoid`` is unwanted, whatever that weight.
    """
    top = max(Emotion, key=lambda emotion: read[emotion])
    match = sum(min(a, r) for a, r in zip(asked, read, strict=True))
    if avoid is not None:
        match = max(0.0, match - sum(r for a, r in zip(avoid, read, strict=True) if a))
    accepted = top in wanted_tops(asked) and match >= threshold
    return Verdict(tuple(float(p) for p in read), top, float(match), accepted)


def log_match(asked: Tensor, log_read: Tensor, avoid: Tensor | None = None) -> Tensor:
    """(…,) smooth counterpart of the match, for guidance, from (…, 7) distributions: the log-likelihood of ``asked``.

    0 where a pure emotion is read for sure, lower elsewhere. Unwanted emotions count by the log of what is not theirs.
    """
    score = (asked * log_read).sum(dim=-1)
    if avoid is not None:
        score = score + torch.log1p(-(log_read.exp() * (avoid > 0)).sum(dim=-1).clamp(max=1.0 - 1e-6))
    return score
