"""Which candidates become the data set: the first of each cell that are no near copies of one taken before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, fields

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from generation.dataset.blocks import Block
from generation.dataset.counts import Cell
from generation.dataset.order import DatasetRequest
from generation.verify import Cause

THUMBNAIL = 16
PIECE = 8192


def thumbnails(images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """(N, 256) grey levels of faces, (H, W) or (H, W, 3), shrunk to 16 x 16 by averaging: what is left without details."""
    small = [Image.fromarray(image).convert("L").resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX) for image in images]
    return np.array([np.asarray(picture, np.float32).ravel() for picture in small]).reshape(-1, THUMBNAIL**2)


def differences(
    a: NDArray[np.float32], b: NDArray[np.float32], b_squares: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """(N, M) root mean square differences in grey levels between (N, D) and (M, D) thumbnails.

    ``b_squares`` (M,) are the sums of squares of ``b``, where they are known already.
    """
    if b_squares is None:
        b_squares = np.square(b).sum(axis=1)
    squared = np.square(a).sum(axis=1)[:, None] + b_squares[None] - 2.0 * (a @ b.T)
    return np.sqrt(squared.clip(min=0) / a.shape[1])


@dataclass
class Tally:
    """What became of the candidates of one cell, or of several together."""

    asked: int
    blocks: int = 0
    candidates: int = 0
    tried: int = 0
    first_try: int = 0
    refused: int = 0
    duplicates: int = 0
    refused_draws: Counter[Cause] = field(default_factory=Counter)
    kept: list[tuple[int, int]] = field(default_factory=list)

    @property
    def full(self) -> bool:
        """Whether all faces asked for are there."""
        return len(self.kept) == self.asked

    def __add__(self, other: Tally) -> Tally:
        return Tally(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))


class Selection:
    """Takes blocks in a fixed order and keeps (block number, position in it) of the faces that are taken."""

    def __init__(self, request: DatasetRequest) -> None:
        self.request = request
        self.tallies = {cell: Tally(request.counts[cell.name]) for cell in request.cells}
        self._thumbnails = np.empty((sum(request.counts.values()), THUMBNAIL**2), np.float32)
        self._squares = np.empty(len(self._thumbnails), np.float32)
        self._taken = 0

    def missing(self) -> list[int]:
        """Numbers of the blocks to look at next; empty when the set is full or a cell's candidates are used up."""
        numbers = []
        for place, (cell, tally) in enumerate(self.tallies.items()):
            blocks = -(-(tally.asked - len(tally.kept)) // self.request.block_size)
            stop = min(tally.blocks + blocks, self.request.block_limit(cell))
            numbers += [ordinal * len(self.tallies) + place for ordinal in range(tally.blocks, stop)]
        return sorted(numbers)

    def add(self, block: Block) -> None:
        """Take what can be taken of ``block``; blocks come in the order of :meth:`missing`."""
        tally = self.tallies[block.cell]
        tally.blocks += 1
        tally.candidates += self.request.block_size
        tally.tried += block.tried
        tally.first_try += sum(face.tries == 1 for face in block.faces)
        tally.refused += self.request.block_size - len(block.faces)
        tally.refused_draws.update(block.refused)
        small = thumbnails([face.image for face in block.faces])
        # All at once with those taken before: one by one, a set of 150,000 would take hours of reading memory.
        nearest = self._nearest_taken(small)
        among = differences(small, small)
        new: list[int] = []
        for position in range(len(block.faces)):
            if tally.full:
                break
            if min(nearest[position], among[position, new].min(initial=np.inf)) < self.request.least_difference:
                tally.duplicates += 1
                continue
            new.append(position)
            tally.kept.append((block.number, position))
        stop = self._taken + len(new)
        self._thumbnails[self._taken : stop] = small[new]
        self._squares[self._taken : stop] = np.square(small[new]).sum(axis=1)
        self._taken = stop

    def _nearest_taken(self, small: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N,) differences of (N, D) thumbnails from the nearest that was taken; infinite where none was."""
        nearest = np.full(len(small), np.inf, np.float32)
        for start in range(0, self._taken, PIECE):
            piece = slice(start, min(start + PIECE, self._taken))
            found = differences(small, self._thumbnails[piece], self._squares[piece])
            nearest = np.minimum(nearest, found.min(axis=1))
        return nearest

    def held_out(self) -> dict[Cell, int]:
        """How many faces of each cell, its last ones, are ``valid``: of each emotion the share that was asked for, to within one,
        whatever it is made of."""
        found, so_far, emotion = dict[Cell, int](), 0, None
        for cell, tally in self.tallies.items():
            so_far, emotion = so_far if cell.emotion is emotion else 0, cell.emotion
            after = so_far + len(tally.kept)
            found[cell] = int(after * self.request.valid_share) - int(so_far * self.request.valid_share)
            so_far = after
        return found
