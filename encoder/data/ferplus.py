"""Votes of FER+ annotators, turned into distributions and majority labels (Barsoum et al., ICMI 2016).

Ten people looked at each face of FER-2013 and chose one of ten tags, in the column order of ``fer2013new.csv``:
neutral, happiness, surprise, sadness, anger, disgust, fear, contempt, unknown, NF ("not a face").
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from encoder.emotions import FERPLUS_NAMES, FERPLUS_VOTE_ORDER

NUM_VOTE_COLUMNS = len(FERPLUS_VOTE_ORDER)
VOTE_COLUMNS: tuple[str, ...] = (*(FERPLUS_NAMES[target] for target in FERPLUS_VOTE_ORDER if target >= 0), "unknown", "NF")


def vote_distributions(vote_counts: ArrayLike) -> NDArray[np.float32]:
    """(N, 10) counts of votes, in the column order of ``fer2013new.csv``, as (N, 8) float32 in the order of
    ``FERPLUS_NAMES``.

    A class with a single vote counts as a slip of the hand and is zeroed, "unknown" and "NF" are dropped, and what is left is
    normalised: the protocol of the FER+ authors. A row is all zero where no vote is left. Raises ValueError: not (N, 10), or
    a negative count.
    """
    kept = _without_single_votes(vote_counts)
    votes = np.zeros((len(kept), len(FERPLUS_NAMES)), np.float32)
    for column, target in enumerate(FERPLUS_VOTE_ORDER):
        if target >= 0:
            votes[:, target] = kept[:, column]
    total = votes.sum(axis=1, keepdims=True)
    return np.divide(votes, total, out=np.zeros_like(votes), where=total > 0)


def majority_ferplus(vote_counts: ArrayLike) -> NDArray[np.int8]:
    """Majority class of each face by the official FER+ protocol (``mode == "majority"`` of the authors' code).

    Single votes are zeroed; a class wins with more than half of all votes that are left, those for "unknown" and "NF"
    included. On the full FER-2013 this keeps 25,060 / 3,199 / 3,153 faces of train / valid / test. Takes (N, 10) counts as
    :func:`vote_distributions` does; returns (N,) int8 indices into ``FERPLUS_NAMES``, -1 where no class wins.
    """
    kept = _without_single_votes(vote_counts)
    winner = np.array(FERPLUS_VOTE_ORDER, np.int8)[kept.argmax(axis=1)]
    return np.where(2 * kept.max(axis=1) > kept.sum(axis=1), winner, -1).astype(np.int8)


def _without_single_votes(vote_counts: ArrayLike) -> NDArray[np.int64]:
    counts = np.asarray(vote_counts)
    if counts.ndim != 2 or counts.shape[1] != NUM_VOTE_COLUMNS:
        raise ValueError(f"vote counts must be (N, {NUM_VOTE_COLUMNS}), got {counts.shape}")
    if counts.size and counts.min() < 0:
        raise ValueError("vote counts must not be negative")
    return np.where(counts > 1, counts, 0).astype(np.int64)
