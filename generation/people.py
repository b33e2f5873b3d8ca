"""One person for many emotions: the neutral face of a seed, of which only brows, eyes and mouth are made anew.

A person is known by brows and eyes, less by the mouth. So the mouth is taken as it was drawn, and all other codes go a part of
the way from the neutral face to what was drawn: the least with which the encoder reads nearly the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from encoder.emotions import Emotion, one_hot
from generation.faces import Face
from generation.regions import region_boxes, token_mask
from generation.request import FaceRequest
from generation.verify import Verdict
from generation.vetoes import MOUTH
from vqvae.tokenizer import Tokenizer

# Draws of a neutral face before the nearest to neutral is taken.
_TRIES = 8
# So far brows and eyes may go of the way to what was drawn, tried in this order; then all of it.
STEPS = (0.0, 0.5, 0.75)
# Two readings whose distributions overlap by this are nearly the same.
ALIKE = 0.8
# What the encoder says of tokens (n, L, G) that stand for the faces of these numbers.
Read = Callable[[Tensor, Sequence[int]], Sequence[Verdict]]


class Drawing(Protocol):
    """What it takes of :class:`generation.draw.FaceModel`."""

    def draw_tokens(
        self, request: FaceRequest, emotions: Sequence[Sequence[float]], seeds: Sequence[int], attempt: int = 0
    ) -> Tensor: ...

    def judged(
        self,
        request: FaceRequest,
        tokens: Tensor,
        emotions: Sequence[Sequence[float]],
        seeds: Sequence[int],
        attempt: int = 0,
    ) -> list[Face]: ...


def neutral_request(request: FaceRequest) -> FaceRequest:
    """What is asked for to find the people of a request: the same ones, however hard an expression is asked for."""
    changes = {"emotion": one_hot(Emotion.NEUTRAL), "avoid": None, "guidance": None, "encoder_guidance": 0.0, "identity": False}
    return request.model_copy(update=changes)


class People:
    """The neutral faces behind a request's seeds, each made once, when it is first needed.

    Args:
        tokens: of seeds that are known already, from the same :func:`neutral_request`; others are added.
        tries: draws of a neutral face before the nearest to neutral is taken; never more than the request allows.
    """

    def __init__(
        self,
        model: Drawing,
        request: FaceRequest,
        tokens: dict[int, Tensor] | None = None,
        *,
        tries: int = _TRIES,
    ) -> None:
        self._model, self._request = model, neutral_request(request)
        self._most, self._tokens = min(request.max_tries, tries), {} if tokens is None else tokens
        self._faces = dict[int, Face]()

    def tokens(self, seeds: Sequence[int]) -> Tensor:
        """(N, L, G) tokens: of each seed the first draw that is accepted as neutral, or the nearest to it that no veto met."""
        self._make([seed for seed in dict.fromkeys(seeds) if seed not in self._tokens])
        return torch.stack([self._tokens[seed] for seed in seeds])

    def neutral(self, seed: int) -> Face:
        """The neutral face of a seed, accepted or not."""
        if seed not in self._faces:
            self._make([seed])
        return self._faces[seed]

    def _make(self, pending: list[int]) -> None:
        ranks = dict.fromkeys(pending, -2.0)
        for attempt in range(self._most):
            if not pending:
                return
            emotions = [self._request.emotion] * len(pending)
            tokens = self._model.draw_tokens(self._request, emotions, pending, attempt)
            faces = self._model.judged(self._request, tokens, emotions, pending, attempt)
            for face, row in zip(faces, tokens, strict=True):
                rank = face.verdict.match - (face.refused not in (None, "emotion"))
                if rank > ranks[face.seed]:
                    ranks[face.seed], self._tokens[face.seed], self._faces[face.seed] = rank, row, face
            pending = [face.seed for face in faces if not face.accepted]


def least_changed(tokenizer: Tokenizer, known: Tensor, drawn: Tensor, read: Read) -> Tensor:
    """Of the change from ``known`` to ``drawn``, both (N, L, G) tokens, the least that is read nearly as all of it is."""
    best, pending = drawn.clone(), list(range(len(drawn)))
    full = read(drawn, pending)
    for upper in STEPS:
        if not pending:
            break
        made = between(tokenizer, known[pending], drawn[pending], upper)
        verdicts = read(made, pending)
        fits = [_as_well(verdict, full[number]) for verdict, number in zip(verdicts, pending, strict=True)]
        best[[number for number, fit in zip(pending, fits, strict=True) if fit]] = made[fits]
        pending = [number for number, fit in zip(pending, fits, strict=True) if not fit]
    return best


def between(tokenizer: Tokenizer, known: Tensor, drawn: Tensor, upper: float) -> Tensor:
    """Tokens (N, L, G) of the codes that are nearest to the way from ``known`` to ``drawn``: the mouth goes all of it, the rest
    ``upper`` of it, 0 to 1."""
    config = tokenizer.config
    boxes = region_boxes(["mouth"], mouth=MOUTH) if config.paints_photographs else region_boxes(["mouth"])
    mouth = token_mask(boxes, config.grid).to(known.device)
    share = torch.where(mouth, 1.0, upper).view(1, config.grid, config.grid, 1)
    vectors = torch.lerp(tokenizer.vectors(known), tokenizer.vectors(drawn), share)
    return tokenizer.quantizer.tokens(vectors.flatten(0, 2)).view(known.shape)


def _as_well(verdict: Verdict, full: Verdict) -> bool:
    overlap = sum(map(min, verdict.distribution, full.distribution))
    return overlap >= ALIKE and verdict.accepted >= full.accepted
