"""From a prior to tokens: a fixed low-discrepancy order of unmasking, guided late. Knows nothing of training.

Halton order: Besnier et al., 2025. Late guidance: while most of a face is hidden, guidance harms.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from vqvae.prior import MaskedPrior

# Positions, over all faces, that go through the network together on a CPU: of twice as many, each took a tenth longer.
POSITIONS_AT_ONCE = 1024


def _radical_inverse(index: int, base: int) -> float:
    result, fraction = 0.0, 1.0
    while index:
        fraction /= base
        result += fraction * (index % base)
        index //= base
    return result


@lru_cache(maxsize=8)
def halton_order(grid: int) -> tuple[int, ...]:
    """All ``grid * grid`` positions, row by row numbers, in the order in which a Halton sequence (2, 3) visits them."""
    order: list[int] = []
    seen: set[int] = set()
    index = 1
    while len(order) < grid * grid:
        position = int(_radical_inverse(index, 2) * grid) * grid + int(_radical_inverse(index, 3) * grid)
        if position not in seen:
            seen.add(position)
            order.append(position)
        index += 1
    return tuple(order)


def unmask_counts(positions: int, steps: int) -> list[int]:
    """How many positions each step fills: few at first, then more and more (cosine), at least one, all in the end."""
    steps = min(steps, positions)
    filled, counts = 0, []
    for step in range(1, steps + 1):
        target = positions - math.floor(positions * math.cos(0.5 * math.pi * step / steps) + 1e-9)
        target = max(min(target, positions - (steps - step)), filled + 1)
        counts.append(target - filled)
        filled = target
    return counts


def gumbel_noise(seeds: list[int], positions: int, groups: int, codes: int) -> Tensor:
    """(N, L, G, K) Gumbel noise on the CPU, row i from ``seeds[i]`` alone: a face never depends on its batch."""
    rows = []
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        uniform = torch.rand(positions, groups, codes, generator=generator)
        rows.append(-torch.log(-torch.log(uniform.clamp(1e-9, 1.0 - 1e-7))))
    return torch.stack(rows)


def states_at(
    prior: MaskedPrior, chosen: Tensor, tokens: Tensor, hidden: Tensor, told: Sequence[Tensor], source: Tensor
) -> tuple[Tensor, ...]:
    """States of the W ``chosen`` positions of the same N faces, once for each of the emotions they may be told.

    Does no work that cannot be seen in the result: only the chosen positions leave the last block; where nothing is visible
    yet, faces asked for alike are computed once; on a CPU, as many faces go through at once as its caches hold.

    Args:
        tokens, hidden, source: as for :meth:`vqvae.prior.MaskedPrior.trunk`. told: tensors (N, 7).

    Returns:
        one (N, W, D) for each of ``told``.
    """
    emotion, source = torch.cat(list(told)), source.repeat(len(told))
    tokens, hidden = tokens.repeat(len(told), 1, 1), hidden.repeat(len(told), 1)
    back: Tensor | None = None
    if bool(hidden.all()):
        kinds, back = torch.unique(torch.cat([emotion, source[:, None].to(emotion.dtype)], 1), dim=0, return_inverse=True)
        emotion, source = kinds[:, :-1], kinds[:, -1].to(source.dtype)
        tokens, hidden = tokens[: len(kinds)], hidden[: len(kinds)]
    count, positions = hidden.shape
    rows = count if tokens.device.type != "cpu" else max(1, POSITIONS_AT_ONCE // positions)
    parts = zip(tokens.split(rows), hidden.split(rows), emotion.split(rows), source.split(rows), strict=True)
    states = torch.cat([prior.trunk(*part, chosen) for part in parts])
    return (states if back is None else states[back]).chunk(len(told))


@torch.inference_mode()
def sample_tokens(
    prior: MaskedPrior,
    emotion: Tensor,
    source: Tensor,
    seeds: list[int],
    *,
    steps: int = 12,
    guidance: float = 2.0,
    temperature: float = 1.0,
) -> Tensor:
    """Tokens (N, L, G) of N new faces.

    Args:
        emotion: (N, 7) distributions. source: (N,) indices. seeds: N integers, one per face.
        steps: forward passes (twice as many with guidance), at most one per position.
        guidance: w of ``c + w (c - u)`` at the last step; rises linearly from 0 (Ho & Salimans, 2022).
        temperature: 0 takes the likeliest code, 1 samples from the model.
    """
    shape = prior.shape
    count, grid = len(seeds), math.isqrt(shape.positions)
    device = emotion.device
    noise = gumbel_noise(seeds, shape.positions, shape.groups, shape.codebook_size).to(device)
    order = torch.tensor(halton_order(grid), device=device)
    tokens = torch.zeros(count, shape.positions, shape.groups, dtype=torch.int64, device=device)
    hidden = torch.ones(count, shape.positions, dtype=torch.bool, device=device)
    filled = 0
    for number in unmask_counts(shape.positions, steps):
        chosen = order[filled : filled + number]
        weight = guidance * filled / shape.positions
        told = [emotion, torch.zeros_like(emotion)] if weight else [emotion]
        states, *blind = states_at(prior, chosen, tokens, hidden, told, source)
        picked: Tensor | None = None
        for group in range(shape.groups):
            logits = prior.head(states, group, picked)
            if blind:
                logits = logits + weight * (logits - prior.head(blind[0], group, picked))
            picked = (logits + temperature * noise[:, chosen, group]).argmax(dim=-1)
            tokens[:, chosen, group] = picked
        hidden[:, chosen] = False
        filled += number
    return tokens
