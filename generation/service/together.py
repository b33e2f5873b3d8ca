"""Faces of several orders, drawn as one batch: what they must have in common, and what each keeps for itself.

A face's noise, its attributes and its tries follow from its own seed, so a face drawn among others is the face drawn alone:
its tokens are the same but where rounding in sums of another size tips a code, its pixels to about one grey level.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from generation.draw import FaceModel
from generation.faces import Face
from generation.request import FaceRequest
from generation.settle import attributes_of

# What each face has for itself, and so may differ within a batch. The value stands for all of them in the key.
_OWN: dict[str, object] = {
    **{"count": 1, "seed": 0, "max_tries": 1, "best_of": 1, "identity": False},
    **dict.fromkeys(("hands", "eyes", "gender", "age", "group")),
}


@dataclass(frozen=True, eq=False)
class Draw:
    """One draw of one face.

    Attributes:
        request: settled by the model.
        known: (L, G) tokens of the person whose expression is drawn; None: the whole face.
    """

    request: FaceRequest
    emotion: tuple[float, ...]
    seed: int
    attempt: int
    known: Tensor | None = None

    @property
    def key(self) -> tuple[FaceRequest, bool]:
        """Draws with equal keys go through the networks together."""
        alike = self.request.model_copy(update={**_OWN, "emotion": (1.0,) + (0.0,) * 6})
        return alike, self.known is None


@dataclass(frozen=True, eq=False)
class Drawn:
    """What a draw gave: a face, judged, and its (L, G) tokens."""

    face: Face
    tokens: Tensor


def draw_together(model: FaceModel, draws: Sequence[Draw]) -> list[Drawn]:
    """Draw and judge a batch. All have the same :attr:`Draw.key`."""
    request = draws[0].request
    told = np.concatenate([attributes_of(draw.request, [draw.seed], model.attributes) for draw in draws])
    emotions, seeds = [draw.emotion for draw in draws], [draw.seed for draw in draws]
    attempts = [draw.attempt for draw in draws]
    people = [draw.known for draw in draws if draw.known is not None]
    known, hidden = (torch.stack(people), model.expression_mask()) if people else (None, None)
    tokens = model.draw_tokens(request, emotions, seeds, attempts, known, hidden, told=told)
    if known is not None:
        tokens = model.as_known(request, known, tokens, emotions, seeds, attempts)
    faces = model.judged(request, tokens, emotions, seeds, attempts, told)
    return [Drawn(face, row) for face, row in zip(faces, tokens, strict=True)]
