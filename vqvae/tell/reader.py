"""Reads gender, age and group of a face from its tokens, as those who labelled other faces perceived them.

Colour photographs come with such labels, but few of them show fear. Grey faces show all emotions, but nobody labelled them. A
prior that is told both in no face cannot draw a man of forty who fears. So a small network learns the labels from the tokens of
those that have them, and says where it is sure what the others look like: pseudo-labels (Lee, 2013).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from vqvae.attributes import ATTRIBUTES, NOT_TOLD, AttributeName
from vqvae.tokens.store import TokenStore

Lookup = Callable[[Tensor], Tensor]
_BATCH = 256
_WIDTH, _HIDDEN = 96, 160


class TokenReader(nn.Module):
    """(N, S, S, D) vectors of codes to logits of each attribute: two 3x3 convolutions, then two linear layers, as aligned faces
    have each part in its place."""

    def __init__(self, side: int, width: int, names: Sequence[AttributeName], scale: float = 1.0) -> None:
        """``scale``: about the deviation of the vectors."""
        super().__init__()
        self.names, self.scale = tuple(names), scale
        self.first, self.second = nn.Conv2d(width, _WIDTH, 3, padding=1), nn.Conv2d(_WIDTH, _WIDTH, 3, padding=1)
        self.norms = nn.ModuleList(nn.GroupNorm(8, _WIDTH) for _ in range(2))
        self.hidden = nn.Linear(_WIDTH * side**2, _HIDDEN)
        self.head = nn.Linear(_HIDDEN, sum(len(ATTRIBUTES[name]) for name in names))
        self.channels, self.dropout = nn.Dropout2d(0.1), nn.Dropout(0.4)

    def forward(self, vectors: Tensor) -> tuple[Tensor, ...]:
        """(N, K) logits for each of ``names``, which has K classes."""
        maps = self.channels(vectors.permute(0, 3, 1, 2) / self.scale)
        maps = F.silu(self.norms[0](self.first(maps)))
        maps = maps + F.silu(self.norms[1](self.second(maps)))
        hidden = F.silu(self.hidden(self.dropout(maps.flatten(1))))
        return self.head(self.dropout(hidden)).split([len(ATTRIBUTES[name]) for name in self.names], dim=1)


@dataclass(frozen=True)
class Held:
    """How the network does on labelled faces that it did not learn from.

    Attributes:
        faces: how many. accuracy: of all of them, by attribute. sure: share of which it is sure. right: its accuracy there.
    """

    faces: int
    accuracy: Mapping[AttributeName, float]
    sure: Mapping[AttributeName, float]
    right: Mapping[AttributeName, float]


def fit_reader(
    store: TokenStore,
    told: Sequence[AttributeName],
    names: Sequence[AttributeName],
    lookup: Lookup,
    *,
    epochs: int,
    seed: int,
    sure: Mapping[AttributeName, float],
    step: Callable[[int], object] = lambda faces: None,
) -> tuple[TokenReader, Held]:
    """A network that learned ``names`` from those faces that have them all; a tenth of these is held out.

    Args:
        told: the attributes that the columns of ``store`` hold.
        lookup: the vectors (N, S, S, D) of tokens (N, L, G), as the decoder gets them.
        sure: the probability from which it is, by attribute. step: called with how many faces a step learned from.

    Raises ValueError: fewer than 20 faces have all of ``names``.
    """
    columns = [told.index(name) for name in names]
    targets = np.array(store.attributes[:, columns], np.int64)
    rows = np.random.default_rng(seed).permutation(np.flatnonzero((targets != NOT_TOLD).all(axis=1)))
    if len(rows) < 20:
        raise ValueError(f"{len(rows)} faces have {', '.join(names)}; at least 20 are needed to learn from")
    held, rows = rows[: len(rows) // 10], rows[len(rows) // 10 :]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        vectors = _vectors(lookup, store, 0, rows[:_BATCH])
        net = TokenReader(vectors.shape[1], vectors.shape[3], names, float(vectors.std()))
        _learn(net, store, lookup, rows, targets, epochs, np.random.default_rng(seed), step)
    likely = read(net, store, lookup, held)
    right = {name: likely[name].argmax(axis=1) == targets[held, place] for place, name in enumerate(names)}
    clear = {name: likely[name].max(axis=1) >= sure[name] for name in names}
    return net, Held(
        len(held),
        {name: float(right[name].mean()) for name in names},
        {name: float(clear[name].mean()) for name in names},
        {name: float(right[name][clear[name]].mean()) if clear[name].any() else float("nan") for name in names},
    )


def _learn(
    net: TokenReader,
    store: TokenStore,
    lookup: Lookup,
    rows: NDArray,
    targets: NDArray,
    epochs: int,
    rng: np.random.Generator,
    step: Callable[[int], object],
) -> None:
    steps = epochs * -(-len(rows) // _BATCH)
    optimizer = torch.optim.AdamW(net.parameters(), 1e-3, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1.5e-3, total_steps=steps)
    net.train()
    for _ in range(epochs):
        order = rng.permutation(rows)
        for start in range(0, len(order), _BATCH):
            batch = order[start : start + _BATCH]
            vectors = _vectors(lookup, store, rng.integers(2, size=len(batch)), batch)
            wanted = torch.from_numpy(targets[batch])
            losses = [F.cross_entropy(logits, wanted[:, place]) for place, logits in enumerate(net(vectors))]
            optimizer.zero_grad()
            torch.stack(losses).sum().backward()
            optimizer.step()
            schedule.step()
            step(len(batch))
    net.eval()


@torch.no_grad()
def _vectors(lookup: Lookup, store: TokenStore, sides: NDArray | int, rows: NDArray) -> Tensor:
    return lookup(torch.from_numpy(store.tokens[sides, rows].astype(np.int64)))


@torch.inference_mode()
def read(net: TokenReader, store: TokenStore, lookup: Lookup, rows: NDArray) -> dict[AttributeName, NDArray[np.float32]]:
    """(N, K) probabilities of each attribute of the faces in ``rows`` (N,), the mean over face and mirror image."""
    parts: dict[AttributeName, list[NDArray[np.float32]]] = {name: [] for name in net.names}
    for start in range(0, len(rows), 4 * _BATCH):
        batch = rows[start : start + 4 * _BATCH]
        sides = [net(_vectors(lookup, store, side, batch)) for side in (0, 1)]
        for name, straight, mirrored in zip(net.names, *sides, strict=True):
            parts[name].append((0.5 * (straight.softmax(dim=1) + mirrored.softmax(dim=1))).numpy())
    return {name: np.concatenate(part) for name, part in parts.items()}


def tell(
    net: TokenReader, store: TokenStore, lookup: Lookup, told: Sequence[AttributeName], sure: Mapping[AttributeName, float]
) -> NDArray[np.int8]:
    """(N, A) attributes of ``store``, with what ``net`` is sure of where nothing was told. What was told stays."""
    attributes = np.array(store.attributes, np.int8)
    for name in net.names:
        column = told.index(name)
        rows = np.flatnonzero(attributes[:, column] == NOT_TOLD)
        if len(rows):
            likely = read(net, store, lookup, rows)[name]
            attributes[rows, column] = np.where(likely.max(axis=1) >= sure[name], likely.argmax(axis=1), NOT_TOLD)
    return attributes
