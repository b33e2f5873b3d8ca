"""People of photographs who lend a drawn face all but its expression.

Data sets show fear and disgust of few people, and a prior that learns from them draws those few. Photographs show many people,
mostly smiling. Brows, eyes and mouth drawn anew in a photograph give an emotion to somebody who was never seen with it.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from configs.cli import UserError
from generation.draw import FaceModel
from vqvae.attributes import ATTRIBUTES, NOT_TOLD, AttributeName
from vqvae.faces import SOURCES
from vqvae.tokens.store import TokenStore

# What is asked of a photograph, and told of the face that is drawn in it.
_WANTED: dict[AttributeName, str] = {"hands": "no", "eyes": "open"}


class Sitters:
    """Photographs of a token store whose gender is told, without hands before the face, in an order by ``seed``.

    Args:
        store: real faces, as ``python -m vqvae.pack`` writes them.

    Raises:
        UserError: no photograph is left.
    """

    def __init__(self, model: FaceModel, store: TokenStore, seed: int) -> None:
        names = model.attributes
        fits = store.sources == SOURCES.index("photo")
        if "gender" in names:
            fits &= store.attributes[:, names.index("gender")] != NOT_TOLD
        self._wanted = {names.index(name): ATTRIBUTES[name].index(value) for name, value in _WANTED.items() if name in names}
        for column, value in self._wanted.items():
            fits &= np.isin(store.attributes[:, column], (NOT_TOLD, value))
        self._store, self._rows = store, np.random.default_rng(seed).permutation(np.flatnonzero(fits))
        self._mask = model.expression_mask()
        if not len(self._rows):
            raise UserError("--tokens: holds no photograph of known gender, without hands before the face, that could be redrawn")

    def __len__(self) -> int:
        return len(self._rows)

    def batch(self, first: int, count: int) -> tuple[NDArray[np.int64], Tensor, Tensor]:
        """Those from ``first`` on: (count, A) what the prior is told of each, their tokens (count, L, G), and which of the L
        positions are to be drawn. Gender, age and group are told as the photograph has them, hands and eyes as they are wanted.
        """
        its = self._rows[first : first + count]
        told = np.array(self._store.attributes[its], np.int64)
        for column, value in self._wanted.items():
            told[:, column] = value
        tokens = torch.from_numpy(np.asarray(self._store.tokens[0, its], np.int64))
        return told, tokens.to(self._mask.device), self._mask
