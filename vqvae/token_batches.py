"""The batches that the prior learns from: tokens of faces, which of them are hidden, and the emotion that is told."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from engine.training.batches import GlobalBatches, uniforms
from vqvae.faces import Faces
from vqvae.token_cache import Arrays


class TokenBatches:
    """What one process learns from in a step, a pure function of that step; can be sent to another process.

    ``make(step)`` gives tokens (B, L, G) int64 of faces or their mirror images, which positions are hidden (B, L) bool,
    emotions (B, 7) float32, all zero where the emotion is not told, and sources (B,) as in ``vqvae.faces.SOURCES``.
    """

    def __init__(self, known: Arrays, faces: Faces, batches: GlobalBatches, *, seed: int, label_dropout: float) -> None:
        """``known``: ``tokens`` (2, N, L, G), of the faces and of their mirror images, and ``labels`` (N, 7)."""
        self._tokens, self._labels, self._faces = known["tokens"], known["labels"], faces
        self._batches, self._seed, self._label_dropout = batches, seed, label_dropout

    def __call__(self, step: int) -> tuple[np.ndarray, ...]:
        _, index = self._batches(step)
        # Of places in the batch, not of faces: one that is drawn twice is hidden and mirrored in two ways.
        u = uniforms(self._seed, step, self._batches.places(), 3 + self._tokens.shape[2])
        tokens = self._tokens[(u[:, 0] < 0.5).astype(np.int64), index].astype(np.int64)
        told = u[:, 1:2] >= self._label_dropout
        hidden = hide_positions(torch.from_numpy(u[:, 2:]))
        return np.asarray(tokens), hidden.numpy(), np.asarray(self._labels[index] * told), self._faces.sources_at(index)


def hide_positions(u: Tensor) -> Tensor:
    """(N, L) bool: a share ``cos(pi u / 2)`` of each row, at least one position (Chang et al., 2022).

    Args:
        u: (N, 1 + L) uniform numbers in [0, 1); the first of a row gives the share, the others the positions.
    """
    length = u.shape[1] - 1
    number = (torch.cos(0.5 * math.pi * u[:, :1]) * length).ceil().clamp(min=1)
    rank = u[:, 1:].argsort(dim=1).argsort(dim=1)
    return rank < number
