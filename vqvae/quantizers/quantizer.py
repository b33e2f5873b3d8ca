"""Vectors to tokens and back: what every quantiser offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Quantised(NamedTuple):
    """What quantising N vectors gave.

    Attributes:
        vectors: (N, groups * dim), codes in value, with a gradient to what was quantised.
        tokens: (N, groups) int64.
        commitment: how far the vectors are from their codes, pulling the vectors; a scalar.
        codebook: the same pulling the codes; zero where codes are not learned by gradient.
    """

    vectors: Tensor
    tokens: Tensor
    commitment: Tensor
    codebook: Tensor


class Quantizer(nn.Module, ABC):
    """Quantises (N, groups * dim) vectors, each group of ``dim`` channels against a codebook of ``size`` codes of its own
    (Baevski et al., 2020)."""

    def __init__(self, size: int, dim: int, groups: int) -> None:
        super().__init__()
        self.size, self.dim, self.groups = size, dim, groups

    @property
    def scale(self) -> float:
        """Factor that gives the channels of the codes about unit variance, for the decoder."""
        return 1.0

    # In float32 under autocast too: bfloat16 tells 256 steps from 1 to 2, so among a thousand codes many tie for the nearest.
    def forward(self, vectors: Tensor) -> Quantised:
        """Quantise (N, groups * dim) with a straight-through gradient; in training, codebooks may learn from it."""
        with torch.autocast(vectors.device.type, enabled=False):
            return self._quantise(vectors.float().reshape(-1, self.groups, self.dim))

    def tokens(self, vectors: Tensor) -> Tensor:
        """(N, groups * dim) to (N, groups) tokens; moves nothing."""
        with torch.autocast(vectors.device.type, enabled=False):
            return self._tokens(vectors.float().reshape(-1, self.groups, self.dim))

    @abstractmethod
    def _quantise(self, split: Tensor) -> Quantised:
        """``forward`` of (N, G, dim) float32."""

    @abstractmethod
    def _tokens(self, split: Tensor) -> Tensor:
        """``tokens`` of (N, G, dim) float32."""

    @abstractmethod
    def lookup(self, tokens: Tensor) -> Tensor:
        """(N, groups) tokens to (N, groups * dim) codes."""

    def likeness(self, tokens: Tensor) -> Tensor:
        """(…, G) tokens to the (…, G, K) cosines between their codes and all codes of the same group."""
        every = torch.arange(self.size, device=tokens.device).unsqueeze(1).expand(-1, self.groups)
        codes = F.normalize(self.lookup(every).view(self.size, self.groups, self.dim), dim=-1)
        own = torch.stack([codes[:, group][tokens[..., group]] for group in range(self.groups)], dim=-2)
        return torch.einsum("...gd,kgd->...gk", own, codes)

    def neighbours(self, count: int, device: torch.device) -> Tensor:
        """(G, K, ``count``) tokens of the nearest other codes to each code of a group, nearest first; fewer where there are
        no more."""
        every = torch.arange(self.size, device=device).unsqueeze(1).expand(-1, self.groups)
        with torch.autocast(device.type, enabled=False):
            likeness = self.likeness(every).movedim(1, 0).float()
        likeness.diagonal(dim1=1, dim2=2).fill_(-torch.inf)
        return likeness.topk(min(count, self.size - 1), dim=-1).indices


def usage(counts: Tensor) -> tuple[float, float]:
    """Share of codes used at least once and perplexity, from (..., K) counts; averaged over leading axes.

    Perplexity is ``exp(entropy)`` of the token frequencies: K when all codes are equally frequent.
    """
    share = counts.double() / counts.double().sum(dim=-1, keepdim=True).clamp(min=1.0)
    entropy = -(share * share.clamp(min=1e-12).log()).sum(dim=-1)
    return float((counts > 0).double().mean()), float(entropy.exp().mean())
