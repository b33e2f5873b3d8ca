"""What a request gives: faces with the encoder's reading of each, and what it took to make them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from generation.request import FaceRequest
from generation.verify import Cause, Verdict
from generation.vetoes import Landmarks


@dataclass(frozen=True)
class Face:
    """One generated face.

    Attributes:
        image: (S, S) uint8 grey, or (S, S, 3) uint8 red, green, blue of weights that paint photographs.
        seed: of the request plus the face's index. ``tries``: which draw of that seed it is, from 1.
        verdict: the encoder's reading of exactly these pixels.
        told: what the prior was told besides the emotion, of all that it can be told; None: nothing.
        realism: share of real faces that look less real, 0 to 1, by the critic. ``landmarks``: by the detector. Each is None
            where it was not asked: it is off, or the face was refused before.
        refused: who refused the face; None: nobody.
    """

    image: np.ndarray
    seed: int
    tries: int
    verdict: Verdict
    told: Mapping[str, str | None] = field(default_factory=dict)
    realism: float | None = None
    landmarks: Landmarks | None = None
    refused: Cause | None = None

    @property
    def accepted(self) -> bool:
        """Whether all who were asked agree: it shows its emotion, looks real, and has its eyes where eyes belong."""
        return self.verdict.accepted and self.refused is None

    def as_record(self) -> dict[str, Any]:
        """What every manifest says of a face; the vetoes where they were asked."""
        record = {"seed": self.seed, "tries": self.tries, **self.verdict.as_record()}
        record |= {"told": dict(self.told)} if self.told else {}
        record |= {} if self.realism is None else {"realism": round(self.realism, 4)}
        return record | ({} if self.landmarks is None else {"landmarks": self.landmarks.as_record()})


@dataclass(frozen=True)
class FaceBatch:
    """The answer to a request: accepted faces in the order of their seeds, and what it took.

    Attributes:
        request: with the settings that the weights gave it.
        refused: of all draws those that were refused, by who refused them.
        interrupted: Ctrl-C ended the drawing; the faces are those that were accepted by then.
    """

    request: FaceRequest
    faces: tuple[Face, ...]
    tried: int
    seconds: float
    weights: dict[str, str] = field(default_factory=dict)
    interrupted: bool = False
    refused: Mapping[Cause, int] = field(default_factory=dict)

    @property
    def images(self) -> list[Any]:
        """The accepted faces as PIL images (mode ``L``, or ``RGB`` in colour)."""
        from PIL import Image

        return [Image.fromarray(face.image) for face in self.faces]

    @property
    def verdicts(self) -> list[Verdict]:
        """The encoder's readings, in the order of ``images``."""
        return [face.verdict for face in self.faces]

    @property
    def complete(self) -> bool:
        """Whether every face that was asked for was accepted."""
        return len(self.faces) == self.request.count
