"""One person for many emotions: the neutral face of a seed, of which only brows, eyes and mouth are made anew."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from encoder.emotions import Emotion, one_hot
from generation.request import FaceRequest
from generation.verify import judge

if TYPE_CHECKING:
    from generation.pipeline import FacePipeline

# Draws of a neutral face before the nearest to neutral is taken.
_TRIES = 8


class People:
    """The neutral faces behind a request's seeds, each made once, when it is first needed."""

    def __init__(self, pipe: FacePipeline, request: FaceRequest) -> None:
        changes = {"emotion": one_hot(Emotion.NEUTRAL), "avoid": None, "encoder_guidance": 0.0, "identity": False}
        self._pipe, self._request = pipe, request.model_copy(update=changes)
        self._tokens: dict[int, Tensor] = {}

    def tokens(self, seeds: Sequence[int]) -> Tensor:
        """(N, L, G) tokens: of each seed the first draw that the encoder finds neutral, or the nearest to it."""
        self._make([seed for seed in dict.fromkeys(seeds) if seed not in self._tokens])
        return torch.stack([self._tokens[seed] for seed in seeds])

    def _make(self, pending: list[int]) -> None:
        request, matches = self._request, dict.fromkeys(pending, -1.0)
        for attempt in range(min(request.max_tries, _TRIES)):
            if not pending:
                return
            tokens = self._pipe.draw_tokens(request, [request.emotion] * len(pending), pending, attempt)
            read = self._pipe.encoder.predict(self._pipe.pixels(tokens)).distributions.tolist()
            verdicts = [judge(request.emotion, row, request.threshold) for row in read]
            for seed, verdict, row in zip(pending, verdicts, tokens, strict=True):
                if verdict.match > matches[seed]:
                    matches[seed], self._tokens[seed] = verdict.match, row
            pending = [seed for seed, verdict in zip(pending, verdicts, strict=True) if not verdict.accepted]
