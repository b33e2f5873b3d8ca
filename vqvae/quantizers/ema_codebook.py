"""The default quantiser: l2-normalised codes, moved by EMA, dead ones restarted.

Sources: van den Oord et al. 2017 (VQ-VAE, EMA of appendix A.1), Yu et al. 2022 (low-dimensional l2-normalised codes),
Dhariwal et al. 2020 (restarts).
"""

from __future__ import annotations

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from vqvae.quantizers.quantizer import Quantised, Quantizer

_COLUMN = 8


def _processes() -> int:
    """Asked at call time: a codebook may be made before the group exists."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def _sum_over_processes(tensor: Tensor) -> Tensor:
    """Sum in place over all processes."""
    if _processes() > 1:
        dist.all_reduce(tensor)
    return tensor


def highest(scores: Tensor) -> Tensor:
    """(N, K) scores to the (N,) index of each row's highest, as ``scores.argmax(dim=1)`` (of equal scores, any).

    On one CPU core, argmax takes ten times as long as the maximum alone. So the maxima of K / 8 columns of 8 scores come
    first, then the place of the best column, then the place within it. With several threads argmax is the faster way.
    """
    rows, size = scores.shape
    if scores.device.type != "cpu" or torch.get_num_threads() > 1 or size % _COLUMN or size < _COLUMN**2:
        return scores.argmax(dim=1)
    columns = scores.view(rows, _COLUMN, size // _COLUMN)
    best = columns.amax(dim=1).argmax(dim=1, keepdim=True)
    within = columns.gather(2, best.unsqueeze(1).expand(rows, _COLUMN, 1)).squeeze(2).argmax(dim=1)
    return within * (size // _COLUMN) + best.squeeze(1)


def _ask_again(quantizer: EmaQuantizer, _keys: object) -> None:
    quantizer._is_started = False


class EmaQuantizer(Quantizer):
    """Codes are running means of the vectors assigned to them.

    Vectors and codes lie on the unit sphere, so the nearest code is the one of highest cosine. Codes whose use falls below
    ``restart_after`` of the mean are moved onto vectors of the current batch; their count and sum are reset too, otherwise
    the next update would undo the move.

    Args:
        size: codes per group (K).
        dim: channels per group.
        groups: number of codebooks (G).
        decay: of the running counts and sums.
        restart_after: share of the mean use below which a code counts as dead; 0 never restarts.
    """

    codes: Tensor
    counts: Tensor
    sums: Tensor
    started: Tensor

    def __init__(self, size: int, dim: int, groups: int, *, decay: float = 0.99, restart_after: float = 0.1) -> None:
        super().__init__(size, dim, groups)
        self.decay, self.restart_after = decay, restart_after
        self.register_buffer("codes", F.normalize(torch.randn(groups, size, dim), dim=-1))
        self.register_buffer("counts", torch.ones(groups, size))
        self.register_buffer("sums", self.codes.clone())
        self.register_buffer("started", torch.zeros(()))
        # Whether ``started`` is known to be set: to ask a GPU in every step would make the CPU wait for it.
        self._is_started = False
        self.register_load_state_dict_post_hook(_ask_again)

    @property
    def scale(self) -> float:
        """Codes have unit length; this gives each channel about unit variance."""
        return self.dim**0.5

    def _quantise(self, split: Tensor) -> Quantised:
        split = F.normalize(split, dim=-1)
        if self.training and not self._is_started:
            if not bool(self.started):
                self._start_from(split.detach())
            self._is_started = True
        tokens = self._nearest(split.detach())
        quantised = self.lookup(tokens).view_as(split)
        commitment = (split - quantised).square().sum(dim=-1).mean()
        if self.training:
            self._update(split.detach(), tokens)
        straight = split + (quantised - split).detach()
        return Quantised(straight.flatten(1), tokens, commitment, commitment.new_zeros(()))

    def _tokens(self, split: Tensor) -> Tensor:
        return self._nearest(F.normalize(split, dim=-1))

    def lookup(self, tokens: Tensor) -> Tensor:
        return torch.cat([self.codes[g][tokens[:, g]] for g in range(self.groups)], dim=-1)

    def _nearest(self, split: Tensor) -> Tensor:
        """(N, G, dim) unit vectors to (N, G) indices of the codes of highest cosine."""
        return torch.stack([highest(split[:, g] @ self.codes[g].T) for g in range(self.groups)], dim=1)

    @torch.no_grad()
    def _start_from(self, split: Tensor, rounds: int = 10) -> None:
        """Spherical k-means on the first batch; without it, most codes are never chosen."""
        for g in range(self.groups):
            vectors = split[:, g]
            centres = self._draw(vectors)
            for _ in range(rounds):
                counts, sums = self._assign(vectors, highest(vectors @ centres.T))
                centres = torch.where(counts[:, None] > 0, F.normalize(sums, dim=-1), centres)
            self.codes[g].copy_(centres)
        self.sums.copy_(self.codes)
        self.counts.fill_(1.0)
        self.started.fill_(1.0)

    def _draw(self, vectors: Tensor) -> Tensor:
        """(K, dim) random rows of the vectors of all processes, the same on each; every process brings equally many."""
        many = len(vectors)
        chosen = torch.randint(_processes() * many, (self.size,), device=vectors.device)
        if _processes() == 1:
            return vectors[chosen]
        dist.broadcast(chosen, 0)
        mine = chosen.div(many, rounding_mode="floor") == dist.get_rank()
        return _sum_over_processes(vectors[chosen % many] * mine[:, None])

    def _assign(self, vectors: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Counts (K,) and sums (K, dim) of the vectors at each code, over all processes."""
        # Counted as a further column: bincount would make the CPU wait for a GPU.
        counted = torch.cat([vectors, vectors.new_ones(len(vectors), 1)], dim=1)
        totals = _sum_over_processes(vectors.new_zeros(self.size, self.dim + 1).index_add_(0, tokens, counted))
        return totals[:, -1], totals[:, :-1]

    @torch.no_grad()
    def _update(self, split: Tensor, tokens: Tensor) -> None:
        for g in range(self.groups):
            counts, sums = self._assign(split[:, g], tokens[:, g])
            self.counts[g].lerp_(counts, 1.0 - self.decay)
            self.sums[g].lerp_(sums, 1.0 - self.decay)
            if self.restart_after:
                self._restart(g, split[:, g])
            self.codes[g].copy_(F.normalize(self.sums[g], dim=-1))

    def _restart(self, g: int, vectors: Tensor) -> None:
        mean = self.counts[g].mean()
        dead = self.counts[g] < self.restart_after * mean
        # Every process draws and reduces, dead codes or not: a collective that only some processes enter would hang.
        fresh = self._draw(vectors)
        self.sums[g].copy_(torch.where(dead[:, None], fresh * mean, self.sums[g]))
        self.counts[g].copy_(torch.where(dead, mean, self.counts[g]))
