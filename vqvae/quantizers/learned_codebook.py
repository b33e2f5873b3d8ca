"""Codebooks that are learned by gradient: the original one, and one that moves as a whole."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn

from vqvae.quantizers.quantizer import Quantised, Quantizer


class _LearnedQuantizer(Quantizer):
    """Nearest code by Euclidean distance; vectors and codes pull each other (van den Oord et al., 2017, eq. 3)."""

    @abstractmethod
    def _codes(self) -> Tensor:
        """(G, K, dim)."""

    def _quantise(self, split: Tensor) -> Quantised:
        codes = self._codes()
        tokens = _nearest(split.detach(), codes.detach())
        quantised = torch.stack([codes[g][tokens[:, g]] for g in range(self.groups)], dim=1)
        commitment = (split - quantised.detach()).square().sum(dim=-1).mean()
        codebook = (split.detach() - quantised).square().sum(dim=-1).mean()
        straight = split + (quantised - split).detach()
        return Quantised(straight.flatten(1), tokens, commitment, codebook)

    def _tokens(self, split: Tensor) -> Tensor:
        return _nearest(split, self._codes())

    def lookup(self, tokens: Tensor) -> Tensor:
        codes = self._codes()
        return torch.cat([codes[g][tokens[:, g]] for g in range(self.groups)], dim=-1)


class PlainQuantizer(_LearnedQuantizer):
    """Every code is a free parameter. Codes that are never chosen never learn: use falls as the codebook grows."""

    def __init__(self, size: int, dim: int, groups: int) -> None:
        super().__init__(size, dim, groups)
        self.codes = nn.Parameter(torch.empty(groups, size, dim).uniform_(-1.0 / size, 1.0 / size))

    def _codes(self) -> Tensor:
        return self.codes


class SimQuantizer(_LearnedQuantizer):
    """A frozen random table behind one learned linear map (SimVQ, Zhu et al., 2024): a step for one code moves all."""

    table: Tensor

    def __init__(self, size: int, dim: int, groups: int) -> None:
        super().__init__(size, dim, groups)
        self.register_buffer("table", torch.randn(groups, size, dim) * dim**-0.5)
        self.maps = nn.Parameter(torch.empty(groups, dim, dim))
        nn.init.orthogonal_(self.maps)

    def _codes(self) -> Tensor:
        return self.table @ self.maps


def _nearest(split: Tensor, codes: Tensor) -> Tensor:
    """(N, G, dim) against (G, K, dim): (N, G) indices of the codes at the smallest distance."""
    # |x|² is the same for all codes of a row and is left out.
    lengths = codes.square().sum(dim=-1)
    near = [(lengths[g] - 2.0 * split[:, g] @ codes[g].T).argmin(dim=1) for g in range(codes.shape[0])]
    return torch.stack(near, dim=1)
