"""From a prior to tokens: a fixed low-discrepancy order of unmasking, guided late. Knows nothing of training.

Halton order: Besnier et al., 2025. Late guidance: while most of a face is hidden, guidance harms.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from vqvae.attributes import NOT_TOLD
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


@dataclass(frozen=True)
class Rerank:
    """Guidance from outside: at each step several candidates, of which one is drawn in proportion to ``exp(score)``.

    The rest of each candidate is filled with the prior's likeliest codes before it is scored, so that the scorer sees a
    whole face: twisted sequential Monte Carlo with one particle kept (Wu et al., 2023).

    Attributes:
        score: takes (D, N, L, G) complete tokens, D candidates of each of N faces, gives (D, N) log weights.
        candidates: D, at least 2.
        start: share of a face that must be visible before candidates are compared; the guess of the rest says little
            before.
    """

    score: Callable[[Tensor], Tensor]
    candidates: int
    start: float = 0.3


def states_at(
    prior: MaskedPrior,
    chosen: Tensor,
    tokens: Tensor,
    hidden: Tensor,
    told: Sequence[Tensor],
    source: Tensor,
    attributes: Tensor | None = None,
    *,
    early: bool = False,
) -> tuple[Tensor, ...]:
    """States of the W ``chosen`` positions of the same N faces, once for each of the emotions they may be told.

    Does no work that cannot be seen in the result: only the chosen positions leave the last block; where nothing is visible
    yet, faces asked for alike are computed once; on a CPU, as many faces go through at once as its caches hold.

    Args:
        tokens, hidden, source, attributes: as for :meth:`vqvae.prior.MaskedPrior.trunk`. told: tensors (N, 7).

    Returns:
        one (N, W, D) for each of ``told``; with ``early`` (2, N, W, D), see :meth:`vqvae.prior.MaskedPrior.trunk`.
    """
    if attributes is None:
        attributes = torch.full((len(source), len(prior.shape.prior.attributes)), NOT_TOLD, device=source.device)
    emotion, source, attributes = torch.cat(list(told)), source.repeat(len(told)), attributes.repeat(len(told), 1)
    tokens, hidden = tokens.repeat(len(told), 1, 1), hidden.repeat(len(told), 1)
    back: Tensor | None = None
    if bool(hidden.all()):
        whole = torch.cat([emotion, source[:, None].to(emotion.dtype), attributes.to(emotion.dtype)], 1)
        kinds, back = torch.unique(whole, dim=0, return_inverse=True)
        emotion, numbers = kinds[:, : emotion.shape[1]], kinds[:, emotion.shape[1] :].to(source.dtype)
        source, attributes = numbers[:, 0], numbers[:, 1:]
        tokens, hidden = tokens[: len(kinds)], hidden[: len(kinds)]
    count, positions = hidden.shape
    rows = count if tokens.device.type != "cpu" else max(1, POSITIONS_AT_ONCE // positions)
    parts = zip(*(each.split(rows) for each in (tokens, hidden, emotion, source, attributes)), strict=True)
    states = torch.cat([prior.trunk(t, h, e, s, wanted=chosen, attributes=a, early=early) for t, h, e, s, a in parts], dim=-3)
    return (states if back is None else states[..., back, :, :]).chunk(len(told), dim=-3)


@torch.inference_mode()
def sample_tokens(
    prior: MaskedPrior,
    emotion: Tensor,
    source: Tensor,
    seeds: list[int],
    *,
    steps: int = 12,
    guidance: float = 2.0,
    guided: tuple[float, float] | None = None,
    temperature: float = 1.0,
    cooled: float | None = None,
    autoguidance: float = 0.0,
    attributes: Tensor | None = None,
    avoid: Tensor | None = None,
    avoidance: float = 0.5,
    known: Tensor | None = None,
    hidden: Tensor | None = None,
    prefer: Tensor | None = None,
    rerank: Rerank | None = None,
    on_step: Callable[[int, int, Tensor, Tensor], object] | None = None,
) -> Tensor:
    """Tokens (N, L, G) of N new faces, or of N known faces some of whose positions are made anew.

    Args:
        emotion: (N, 7) distributions. source: (N,) indices. seeds: N integers, one per face.
        steps: forward passes (twice as many with guidance), at most one per position.
        guidance: w of ``c + w (c - u)`` at the last step; grows with the visible share of the face (Ho & Salimans, 2022).
            Emotion alone is guided: attributes are told to both.
        guided: the shares of the steps between which ``guidance`` holds in full, and outside of which there is none; the
            middle of the sampling costs the least variety (Kynkäänniemi et al., 2024).
        attributes: (N, A), as for :class:`vqvae.prior.MaskedPrior`.
        temperature: 0 takes the likeliest code, 1 samples from the model.
        cooled: temperature where all but the last positions are visible; it changes in proportion to the visible share, from
            ``temperature``. What a face is like is then drawn freely, and its details are drawn to fit. None: no change.
        autoguidance: strength of guidance away from the prior's own early exit, in all steps: what an unfinished prior would
            draw is drawn less (Karras et al., 2024). It costs no pass, and leads to no emotion.
        avoid: (N, 7) distributions to be guided away from, a third forward pass: ``u`` becomes
            ``(1 - avoidance) u + avoidance n`` with n told them, at 1 in place of u.
        known, hidden: (N, L, G) tokens to start from, and the (L,) bool mask of the positions to make anew.
        prefer: (N, L, G, K) added to the logits of every code.
        rerank: guidance by a scorer; the first candidates alone make the face that would be made without it.
        on_step: called after every step with its number from 0, the number of steps, the tokens so far, and (N, L) bool where
            they are hidden still; copies, both.

    Raises:
        ValueError: only one of ``known`` and ``hidden`` is given, or autoguidance is asked of a prior without an exit.
    """
    if autoguidance and prior.exit is None:
        raise ValueError("autoguidance needs a prior with an early exit")
    if (known is None) != (hidden is None):
        raise ValueError("known and hidden go together: tokens to start from, and which positions of them to make anew")
    shape = prior.shape
    count, device = len(seeds), emotion.device
    size = shape.positions, shape.groups, shape.codebook_size
    draws = rerank.candidates if rerank else 1
    noise = []
    for draw in range(draws):
        noise.append(gumbel_noise([_candidate_seed(seed, draw) for seed in seeds], *size).to(device))
    order = torch.tensor(_order(shape.positions, hidden), dtype=torch.int64, device=device)
    tokens = torch.zeros(count, *size[:2], dtype=torch.int64, device=device)
    masked = torch.ones(count, shape.positions, dtype=torch.bool, device=device)
    if known is not None and hidden is not None:
        masked = hidden.to(device).expand(count, -1).clone()
        tokens = torch.where(masked.unsqueeze(-1), tokens, known.to(device))
    # What guidance leads away from: being told nothing, and what is to be avoided.
    blind = (
        [(torch.zeros_like(emotion), 1.0)] if avoid is None else [(torch.zeros_like(emotion), 1 - avoidance), (avoid, avoidance)]
    )
    counts, filled = unmask_counts(len(order), steps), 0
    luck = gumbel_noise([_candidate_seed(seed, draws) for seed in seeds], len(counts), 1, draws)[:, :, 0].to(device)
    for step, number in enumerate(counts):
        chosen, rest = order[filled : filled + number], order[filled + number :]
        visible = 1.0 - (len(order) - filled) / shape.positions
        weight = guidance * (visible if guided is None else float(guided[0] <= step / len(counts) < guided[1]))
        apart = [(told, weight * share) for told, share in blind if weight * share]
        said = [emotion, *(told for told, _ in apart)]
        states, *others = states_at(prior, chosen, tokens, masked, said, source, attributes, early=autoguidance > 0)
        away = []
        if autoguidance:
            (states, weaker), others = states, [other for other, _ in others]
            away = [(weaker, autoguidance)]
        away += [(other, strength) for other, (_, strength) in zip(others, apart, strict=True)]
        compare = rerank is not None and visible >= rerank.start
        warmth = temperature if cooled is None else temperature + (cooled - temperature) * visible
        liked = 0.0 if prefer is None else prefer[:, chosen]
        made = [_pick(prior, states, away, warmth * each[:, chosen] + liked) for each in noise[: draws if compare else 1]]
        masked[:, chosen] = False
        tokens[:, chosen] = made[0]
        if rerank is not None and compare:
            whole = tokens.repeat(draws, 1, 1)
            whole[:, chosen] = torch.cat(made)
            if len(rest):
                told = [emotion.repeat(draws, 1)]
                more = None if attributes is None else attributes.repeat(draws, 1)
                (guess,) = states_at(prior, rest, whole, masked.repeat(draws, 1), told, source.repeat(draws), more)
                whole[:, rest] = _pick(prior, guess)
            scores = rerank.score(whole.view(draws, count, *size[:2]))
            best = (scores + luck[:, step].T).argmax(dim=0)
            tokens[:, chosen] = torch.stack(made)[best, torch.arange(count, device=device)]
        filled += number
        if on_step is not None:
            on_step(step, len(counts), tokens.clone(), masked.clone())
    return tokens


def _order(positions: int, hidden: Tensor | None) -> list[int]:
    order = halton_order(math.isqrt(positions))
    return [position for position in order if hidden is None or bool(hidden[position])]


def _candidate_seed(seed: int, draw: int) -> int:
    return seed if draw == 0 else (seed * 0x9E3779B1 + draw * 0x85EBCA77) % (1 << 32)


def _pick(prior: MaskedPrior, states: Tensor, away: Sequence[tuple[Tensor, float]] = (), noise: Tensor | None = None) -> Tensor:
    """(N, P, G) codes for the positions of ``states`` (N, P, D): the likeliest under guidance away from other states, each
    with its weight, and under noise (N, P, G, K)."""
    codes: list[Tensor] = []
    for group in range(prior.shape.groups):
        before = torch.stack(codes, dim=-1) if codes else None
        told = logits = prior.head(states, group, before)
        for other, weight in away:
            logits = logits + weight * (told - prior.head(other, group, before))
        codes.append((logits if noise is None else logits + noise[:, :, group]).argmax(dim=-1))
    return torch.stack(codes, dim=-1)
