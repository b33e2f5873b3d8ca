"""The batches that the prior learns from: tokens of faces, which of them are hidden, and the emotion that is told."""

from __future__ import annotations

import math
from typing import Self

import numpy as np
import torch
from torch import Tensor

from engine.training.batches import Accept, GlobalBatches, uniforms
from vqvae.attributes import NOT_TOLD
from vqvae.tokens.store import TokenStore

_PIECE = 1 << 16
_MOST_WEIGHTS = 1 << 20


class TokenBatches:
    """What one process learns from in a step, a pure function of that step; can be sent to another process.

    ``make(step)`` gives tokens (B, L, G) int64 of faces or their mirror images, which positions are hidden (B, L) bool,
    emotions (B, 7) float32, all zero where the emotion is not told, sources (B,) as in ``vqvae.faces.SOURCES``, and
    attributes (B, A) int64, ``NOT_TOLD`` where one is hidden. Emotion and each attribute are hidden on their own.
    """

    def __init__(
        self, store: TokenStore, batches: GlobalBatches, *, seed: int, label_dropout: float, attribute_dropout: float = 0.0
    ) -> None:
        self._store, self._batches, self._seed = store, batches, seed
        self._label_dropout, self._attribute_dropout = label_dropout, attribute_dropout

    def __call__(self, step: int) -> tuple[np.ndarray, ...]:
        store, (_, index) = self._store, self._batches(step)
        # Of places in the batch, not of faces: one that is drawn twice is hidden and mirrored in two ways.
        length, columns = store.tokens.shape[2], store.attributes.shape[1]
        u = uniforms(self._seed, step, self._batches.places(), 3 + length + columns)
        tokens = store.tokens[(u[:, 0] < 0.5).astype(np.int64), index].astype(np.int64)
        told = u[:, 1:2] >= self._label_dropout
        hidden = hide_positions(torch.from_numpy(u[:, 2 : 3 + length]))
        sources = store.sources[index].astype(np.int64)
        shown = u[:, 3 + length :] >= self._attribute_dropout
        attributes = np.where(shown, store.attributes[index], NOT_TOLD).astype(np.int64)
        return np.asarray(tokens), hidden.numpy(), np.asarray(store.labels[index] * told), np.asarray(sources), attributes


def hide_positions(u: Tensor) -> Tensor:
    """(N, L) bool: a share ``cos(pi u / 2)`` of each row, at least one position (Chang et al., 2022).

    Args:
        u: (N, 1 + L) uniform numbers in [0, 1); the first of a row gives the share, the others the positions.
    """
    length = u.shape[1] - 1
    number = (torch.cos(0.5 * math.pi * u[:, :1]) * length).ceil().clamp(min=1)
    rank = u[:, 1:].argsort(dim=1).argsort(dim=1)
    return rank < number


def sampling_weights(store: TokenStore, rare_sampling: float) -> np.ndarray | Accept:
    """Frequency of each face in training: its top emotion's frequency to the power ``-rare_sampling``.

    A face without a label counts for no emotion and is drawn as often as the labelled ones are on average.

    Returns:
        (N,); for more than a million faces a function that gives those asked for, the highest 1.
    """
    weigh = _Rarity(store, rare_sampling)
    return weigh(np.arange(len(store))) if len(store) <= _MOST_WEIGHTS else weigh.relative()


class _Rarity:
    """The weights of the faces asked for; can be sent to another process."""

    def __init__(self, store: TokenStore, rare_sampling: float) -> None:
        self._store = store
        counts = np.zeros(store.labels.shape[1] + 1)
        for start in range(0, len(store), _PIECE):
            counts += np.bincount(self._emotion(slice(start, start + _PIECE)), minlength=len(counts))
        known = counts[:-1]
        weights = np.where(known > 0, known, np.inf) ** -rare_sampling if rare_sampling else np.ones(len(known))
        mean = float((weights * known).sum() / known.sum()) if known.any() else 1.0
        self._weights = np.append(weights, mean)

    def __call__(self, index: np.ndarray) -> np.ndarray:
        return self._weights[self._emotion(index)]

    def relative(self) -> Self:
        """The same weights with 1 as the highest."""
        self._weights = self._weights / self._weights.max()
        return self

    def _emotion(self, index: np.ndarray | slice) -> np.ndarray:
        """The top emotion of each face; one more than the last where it has no label."""
        labels = self._store.labels[index]
        return np.where(labels.any(axis=1), labels.argmax(axis=1), labels.shape[1])
