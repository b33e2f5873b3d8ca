"""One person for many emotions: the neutral face of a seed, of which only brows, eyes and mouth are made anew."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from encoder.emotions import Emotion, one_hot
from generation.request import FaceRequest
from generation.verify import Verdict

# Draws of a neutral face before the nearest to neutral is taken.
_TRIES = 8


class Drawing(Protocol):
    """What it takes of :class:`generation.draw.FaceModel`."""

    def draw_tokens(
        self, request: FaceRequest, emotions: Sequence[Sequence[float]], seeds: Sequence[int], attempt: int = 0
    ) -> Tensor: ...

    def pixels(self, tokens: Tensor) -> Tensor: ...

    def read(self, request: FaceRequest, faces: Tensor, emotions: Sequence[Sequence[float]]) -> list[Verdict]: ...


class People:
    """The neutral faces behind a request's seeds, each made once, when it is first needed."""

    def __init__(self, model: Drawing, request: FaceRequest) -> None:
        changes = {"emotion": one_hot(Emotion.NEUTRAL), "avoid": None, "encoder_guidance": 0.0, "identity": False}
        self._model, self._request = model, request.model_copy(update=changes)
        self._tokens: dict[int, Tensor] = {}

    def tokens(self, seeds: Sequence[int]) -> Tensor:
        """(N, L, G) tokens: of each seed the first draw that the encoder finds neutral, or the nearest to it."""
        self._make([seed for seed in dict.fromkeys(seeds) if seed not in self._tokens])
        return torch.stack([self._tokens[seed] for seed in seeds])

    def _make(self, pending: list[int]) -> None:
        matches = dict.fromkeys(pending, -1.0)
        for attempt in range(min(self._request.max_tries, _TRIES)):
            if not pending:
                return
            emotions = [self._request.emotion] * len(pending)
            tokens = self._model.draw_tokens(self._request, emotions, pending, attempt)
            verdicts = self._model.read(self._request, self._model.pixels(tokens), emotions)
            for seed, verdict, row in zip(pending, verdicts, tokens, strict=True):
                if verdict.match > matches[seed]:
                    matches[seed], self._tokens[seed] = verdict.match, row
            pending = [seed for seed, verdict in zip(pending, verdicts, strict=True) if not verdict.accepted]
