"""What a request gives: faces with the encoder's reading of each, and what it took to make them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from generation.request import FaceRequest
from generation.verify import Verdict


@dataclass(frozen=True)
class Face:
    """One generated face.

    Attributes:
        image: (S, S) uint8 grey.
        seed: of the request plus the face's index. ``tries``: which draw of that seed it is, from 1.
        verdict: the encoder's reading of exactly these pixels.
    """

    image: np.ndarray
    seed: int
    tries: int
    verdict: Verdict


@dataclass(frozen=True)
class FaceBatch:
    """The answer to a request: accepted faces in the order of their seeds, and what it took.

    Attributes:
        interrupted: Ctrl-C ended the drawing; the faces are those that were accepted by then.
    """

    request: FaceRequest
    faces: tuple[Face, ...]
    tried: int
    seconds: float
    weights: dict[str, str] = field(default_factory=dict)
    interrupted: bool = False

    @property
    def images(self) -> list[Any]:
        """The accepted faces as PIL images (mode ``L``)."""
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
