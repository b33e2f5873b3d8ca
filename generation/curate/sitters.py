"""People of photographs who lend a drawn face all but its expression.

Data sets show fear and disgust of few people, and a prior that learns from them draws those few. Photographs show many people,
mostly smiling. Brows, eyes and mouth drawn anew in a photograph give an emotion to somebody who was never seen with it.

A prior that draws them all alike teaches one way to show the emotion. So a part of them may be borrowed from real faces that
show it, and only the rest is drawn, to fit.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from configs.cli import UserError
from encoder.emotions import Emotion
from generation.draw import FaceModel
from vqvae.attributes import ATTRIBUTES, NOT_TOLD, AttributeName
from vqvae.faces import SOURCES
from vqvae.tokens.store import TokenStore

# What is asked of a photograph, and told of the face that is drawn in it.
_WANTED: dict[AttributeName, str] = {"hands": "no", "eyes": "open"}
# So likely must an emotion be that a real face lends it.
_CLEAR = 0.5


class Sitters:
    """Photographs of a token store whose gender is told, without hands before the face, in an order by ``seed``.

    Each is taken as it is or mirrored, by chance.

    Args:
        store: real faces, as ``python -m vqvae.pack`` writes them.
        borrowed: share of the positions of brows, eyes and mouth that come from a real face with the emotion, 0 to 1.

    Raises:
        UserError: no photograph is left.
    """

    def __init__(self, model: FaceModel, store: TokenStore, seed: int, borrowed: float = 0.0) -> None:
        names = model.attributes
        self._wanted = {names.index(name): ATTRIBUTES[name].index(value) for name, value in _WANTED.items() if name in names}
        self._free = np.ones(len(store), bool)
        for column, value in self._wanted.items():
            self._free &= np.isin(store.attributes[:, column], (NOT_TOLD, value))
        fits = self._free & (store.sources == SOURCES.index("photo"))
        if "gender" in names:
            fits &= store.attributes[:, names.index("gender")] != NOT_TOLD
        self._store, self._rows = store, np.random.default_rng(seed).permutation(np.flatnonzero(fits))
        self._mask, self._seed, self._borrowed = model.expression_mask(), seed, borrowed
        if not len(self._rows):
            raise UserError("--tokens: holds no photograph of known gender, without hands before the face, that could be redrawn")

    def __len__(self) -> int:
        return len(self._rows)

    def batch(self, first: int, count: int, emotion: Emotion) -> tuple[NDArray[np.int64], Tensor, Tensor]:
        """Those from ``first`` on: (count, A) what the prior is told of each, their tokens (count, L, G), and which of the L
        positions are to be drawn. Gender, age and group are told as the photograph has them, hands and eyes as they are wanted.

        Raises:
            UserError: no real face could lend ``emotion``.
        """
        its, rng = self._rows[first : first + count], np.random.default_rng((self._seed, first))
        told = np.array(self._store.attributes[its], np.int64)
        for column, value in self._wanted.items():
            told[:, column] = value
        tokens, hidden = self._either_way(its, rng), self._mask.cpu().numpy().copy()
        if self._borrowed:
            where = np.flatnonzero(hidden)
            taken = rng.permutation(where)[: round(self._borrowed * len(where))]
            tokens[:, taken] = self._either_way(rng.choice(self.lenders(emotion), len(its)), rng)[:, taken]
            hidden[taken] = False
        device = self._mask.device
        return told, torch.from_numpy(tokens).to(device), torch.from_numpy(hidden).to(device)

    def _either_way(self, rows: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """(n, L, G) tokens of these faces, half of them mirrored."""
        mirrored = rng.integers(2, size=len(rows))
        return np.stack([np.asarray(self._store.tokens[side, row], np.int64) for side, row in zip(mirrored, rows, strict=True)])

    def lenders(self, emotion: Emotion) -> NDArray[np.int64]:
        """Rows of the real faces that clearly show ``emotion``.

        Raises:
            UserError: there are none.
        """
        labels = self._store.labels
        rows = np.flatnonzero(self._free & (labels.argmax(axis=1) == emotion) & (labels.max(axis=1) >= _CLEAR))
        if not len(rows):
            raise UserError(f"--borrow: no face of --tokens clearly shows {emotion.label}; leave --borrow out")
        return rows
