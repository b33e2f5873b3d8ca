"""One person, as little changed as the emotion allows: of what was drawn for brows and eyes only as much as it takes.

A person is known by brows and eyes, less by the mouth. So the mouth is taken as it was drawn, and all other codes go a part of
the way from the neutral face to what was drawn: the least with which the encoder reads nearly the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from generation.regions import region_boxes, token_mask
from generation.verify import Verdict
from generation.vetoes import MOUTH
from vqvae.tokenizer import Tokenizer

# So far brows and eyes may go of the way to what was drawn, tried in this order; then all of it.
STEPS = (0.0, 0.5, 0.75)
# Two readings whose distributions overlap by this are nearly the same.
ALIKE = 0.8
# What the encoder says of tokens (n, L, G) that stand for the faces of these numbers.
Read = Callable[[Tensor, Sequence[int]], Sequence[Verdict]]


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
