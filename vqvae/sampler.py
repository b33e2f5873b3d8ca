"""From a prior to tokens: a fixed low-discrepancy order of unmasking, guided late. Knows nothing of training.

Halton order: Besnier et al., 2025. Late guidance: while most of a face is hidden, guidance harms.
"""

from __future__ import annotations

import math
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


def _states(prior: MaskedPrior, chosen: Tensor, tokens: Tensor, hidden: Tensor, emotion: Tensor, source: Tensor) -> Tensor:
    """(N, W, D) states of the W chosen positions; on the CPU of as many faces at once as its caches hold."""
    count, positions = hidden.shape
    rows = count if tokens.device.type != "cpu" else max(1, POSITIONS_AT_ONCE // positions)
    parts = zip(tokens.split(rows), hidden.split(rows), emotion.split(rows), source.split(rows), strict=True)
    return torch.cat([prior.trunk(*part, chosen) for part in parts])


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
    conditions, alike = torch.unique(torch.cat([emotion, source[:, None].to(emotion.dtype)], dim=1), dim=0, return_inverse=True)
    filled = 0
    for number in unmask_counts(shape.positions, steps):
        chosen = order[filled : filled + number]
        weight = guidance * filled / shape.positions
        blind: Tensor | None = None
        if not filled:
            # Nothing is visible yet, so faces asked for alike are still the same: one of each kind is enough.
            kinds = len(conditions)
            first = conditions[:, :-1], conditions[:, -1].to(source.dtype)
            states = _states(prior, chosen, tokens[:kinds], hidden[:kinds], *first)[alike]
        elif weight:
            both = torch.cat([emotion, torch.zeros_like(emotion)])
            pair = _states(prior, chosen, tokens.repeat(2, 1, 1), hidden.repeat(2, 1), both, source.repeat(2))
            states, blind = pair.chunk(2)
        else:
            states = _states(prior, chosen, tokens, hidden, emotion, source)
        picked: Tensor | None = None
        for group in range(shape.groups):
            logits = prior.head(states, group, picked)
            if blind is not None:
                logits = logits + weight * (logits - prior.head(blind, group, picked))
            picked = (logits + temperature * noise[:, chosen, group]).argmax(dim=-1)
            tokens[:, chosen, group] = picked
        hidden[:, chosen] = False
        filled += number
    return tokens
