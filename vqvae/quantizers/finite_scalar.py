"""Finite scalar quantisation: no codebook at all, each channel is rounded to a few levels (Mentzer et al., 2023)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vqvae.quantizers.quantizer import Quantised, Quantizer

# Keeps the outermost level inside the open range of tanh.
MARGIN = 1e-3


class FiniteScalarQuantizer(Quantizer):
    """Channel i of a group takes ``levels[i]`` values, evenly spread over [-1, 1]; a token numbers their combination.

    For an even number of levels the grid is shifted by half a step, so that zero is one of the values.
    """

    counts: Tensor
    strides: Tensor

    def __init__(self, levels: tuple[int, ...], groups: int) -> None:
        super().__init__(math.prod(levels), len(levels), groups)
        self.register_buffer("counts", torch.tensor(levels), persistent=False)
        strides = [math.prod(levels[:index]) for index in range(len(levels))]
        self.register_buffer("strides", torch.tensor(strides), persistent=False)

    def _quantise(self, split: Tensor) -> Quantised:
        bounded = self._bound(split)
        rounded = bounded + (bounded.round() - bounded).detach()
        none = bounded.new_zeros(())
        return Quantised((rounded / self._half()).flatten(1), self._number(bounded.round()), none, none)

    def _tokens(self, split: Tensor) -> Tensor:
        return self._number(self._bound(split).round())

    def lookup(self, tokens: Tensor) -> Tensor:
        steps = tokens.unsqueeze(-1).div(self.strides, rounding_mode="floor") % self.counts
        return ((steps - self._half()) / self._half()).float().flatten(1)

    @property
    def scale(self) -> float:
        """Values spread over [-1, 1] have a standard deviation of about 0.6."""
        return 3.0**0.5

    def _half(self) -> Tensor:
        return self.counts.div(2, rounding_mode="floor")

    def _bound(self, split: Tensor) -> Tensor:
        """(N, G, dim), squashed so that rounding meets exactly ``levels`` values."""
        reach = (self.counts - 1) * (1 + MARGIN) / 2
        shift = torch.where(self.counts % 2 == 0, 0.5, 0.0)
        return torch.tanh(split + torch.atanh(shift / reach)) * reach - shift

    def _number(self, rounded: Tensor) -> Tensor:
        return ((rounded.long() + self._half()) * self.strides).sum(dim=-1)
