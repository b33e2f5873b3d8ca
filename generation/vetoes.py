"""Who may refuse a face that shows its emotion: a critic that finds it unreal, a probe that sees hands before it or closed
eyes that were not asked for, a detector that finds it out of place."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from encoder.attributes.labels import ATTRIBUTES as PROBED
from encoder.attributes.probe import FaceAttributes
from encoder.detection.face import BatchDetector, DetectedFace
from generation.verify import Cause
from vqvae.critics.critic import RealismCritic

# Where the faces that the generator learned from have their eyes and their mouth, as shares of the side: they were aligned.
EYES, EYE_DISTANCE, MOUTH = (0.50, 0.34), 0.36, (0.50, 0.70)
# How far from there a face may have them, and how far apart its eyes may be: those of a face that turns away are nearer. Of
# 1,000 colour photographs of the valid split 99.6 % are in place; see eval.measures.placement.
MOST_EYES_OFF, MOST_MOUTH_OFF, EYE_DISTANCES = 0.08, 0.12, (0.20, 0.46)


@dataclass(frozen=True)
class Landmarks:
    """Where a detector finds a face, as shares of the picture's side.

    Attributes:
        score: how sure the detector is, 0 to 1; 0 where it finds no face.
        eyes: x and y of the middle between them. ``distance``: between them. ``mouth``: x and y of its middle.
    """

    score: float
    eyes: tuple[float, float] = (0.0, 0.0)
    distance: float = 0.0
    mouth: tuple[float, float] = (0.0, 0.0)

    @property
    def in_place(self) -> bool:
        """Whether there is a face, and its eyes and mouth lie where faces of the generator have them."""
        near = math.dist(self.eyes, EYES) <= MOST_EYES_OFF and math.dist(self.mouth, MOUTH) <= MOST_MOUTH_OFF
        return self.score > 0 and near and EYE_DISTANCES[0] <= self.distance <= EYE_DISTANCES[1]

    def as_record(self) -> dict[str, Any]:
        """What a manifest says of it."""
        eyes, mouth = ([round(value, 3) for value in point] for point in (self.eyes, self.mouth))
        return {"score": round(self.score, 3), "eyes": eyes, "eye_distance": round(self.distance, 3), "mouth": mouth}


@dataclass(frozen=True)
class Seen:
    """What a probe sees in a face besides its emotion: probabilities.

    Attributes:
        hands: a hand or an object touches or hides the face. closed: no eye is open.
    """

    hands: float
    closed: float

    def agrees(self, told: Mapping[str, str | None]) -> bool:
        """Whether hands and eyes are likelier than not as the prior was told; what it was not told may be either."""
        hands, eyes = told.get("hands"), told.get("eyes")
        right = hands is None or (self.hands >= 0.5) == (hands == "yes")
        return right and (eyes is None or (self.closed >= 0.5) == (eyes == "closed"))

    def as_record(self) -> dict[str, float]:
        """What a manifest says of it."""
        return {"hands": round(self.hands, 3), "closed": round(self.closed, 3)}


def look_for(probe: FaceAttributes, faces: NDArray[np.uint8]) -> list[Seen]:
    """Of each of (N, S, S, C) faces what the probe sees."""
    read = probe.predict(faces)
    hands, closed = (read[:, PROBED.index(name)].tolist() for name in ("object", "closed"))
    return [Seen(*each) for each in zip(hands, closed, strict=True)]


def find_landmarks(detector: BatchDetector, faces: NDArray[np.uint8]) -> list[Landmarks]:
    """Of each of (N, S, S, 3) faces the landmarks of the face in it that lies nearest to its place."""
    side = faces.shape[1]
    found = []
    for faces_there in detector.detect_all(list(faces)):
        marks = [_landmarks(face, side) for face in faces_there if face.eyes is not None and face.mouth is not None]
        found.append(min(marks, key=lambda each: math.dist(each.eyes, EYES), default=Landmarks(0.0)))
    return found


def _landmarks(face: DetectedFace, side: int) -> Landmarks:
    # Pixel i reaches from i to i + 1.
    left, right, mouth = ((np.asarray(point, np.float64) + 0.5) / side for point in (*face.eyes, face.mouth))  # type: ignore[misc]
    x, y = (left + right) / 2
    return Landmarks(float(face.score or 0.0), (float(x), float(y)), math.dist(left, right), (float(mouth[0]), float(mouth[1])))


@dataclass(frozen=True)
class Examined:
    """What the vetoes say of one face; None where it was not looked at: another had refused it, or it is off."""

    refused: Cause | None
    realism: float | None = None
    seen: Seen | None = None
    landmarks: Landmarks | None = None


def examine(
    painted: Tensor,
    accepted: Sequence[bool],
    critic: RealismCritic | None,
    realism: float | None,
    probe: FaceAttributes | None,
    told: Sequence[Mapping[str, str | None]],
    detector: Callable[[], BatchDetector] | None,
) -> list[Examined]:
    """Ask critic, probe and detector: the quickest first, and each only of faces not yet refused.

    Args:
        painted: (N, C, P, P) uint8, as the decoder painted them. accepted: of each whether its emotion was.
        realism: share of real faces that must look less real; None or 0 does not ask the critic.
        probe: None does not ask one. told: of each face what the prior was told besides its emotion.
        detector: makes the detector when it is first needed; None does not ask one.
    """
    found = [Examined(None if yes else "emotion") for yes in accepted]
    left = [number for number, each in enumerate(found) if each.refused is None]
    if critic is not None and realism and left:
        for number, share in zip(left, critic.realism(painted[left].float() / 255.0).tolist(), strict=True):
            found[number] = Examined("realism" if share < realism else None, share)
        left = [number for number in left if found[number].refused is None]
    if probe is not None and left:
        pictures = painted[left].permute(0, 2, 3, 1).cpu().numpy()
        for number, seen in zip(left, look_for(probe, pictures), strict=True):
            refused: Cause | None = None if seen.agrees(told[number]) else "attributes"
            found[number] = replace(found[number], refused=refused, seen=seen)
        left = [number for number in left if found[number].refused is None]
    if detector is not None and left:
        pictures = painted[left].permute(0, 2, 3, 1).expand(-1, -1, -1, 3).cpu().numpy()
        for number, marks in zip(left, find_landmarks(detector(), pictures), strict=True):
            found[number] = replace(found[number], refused=None if marks.in_place else "landmarks", landmarks=marks)
    return found
