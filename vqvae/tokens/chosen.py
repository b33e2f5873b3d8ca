"""Drawn faces that were chosen, beside the real ones: a prior that learns from its own best faces draws more of them.

Learning from what one drew narrows: real faces stay in every batch. That choosing makes it an improvement, and not a collapse,
is shown by Ferbach et al., 2024 (self-consuming models with curated data); for texts it is known as RAFT (Dong et al., 2023).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from configs.cli import UserError
from vqvae.tokens.batches import sampling_weights
from vqvae.tokens.store import TokenStore


def together(first: TokenStore, *others: TokenStore) -> TokenStore:
    """All in memory, in this order.

    Raises:
        UserError: they tell different attributes, or one of the others holds no faces.
    """
    columns = first.attributes.shape[1]
    for each in others:
        if not len(each):
            raise UserError("prior_stage.chosen: a file holds no faces; python -m generation.curate writes some")
        if each.attributes.shape[1] != columns:
            raise UserError(
                f"prior_stage.chosen: faces have {each.attributes.shape[1]} attributes, but prior.attributes names "
                f"{columns}; draw them with weights of this configuration"
            )
    stores = (first, *others)
    return TokenStore(
        tokens=np.concatenate([each.tokens.astype(first.tokens.dtype) for each in stores], axis=1),
        labels=np.concatenate([each.labels for each in stores]),
        sources=np.concatenate([each.sources for each in stores]),
        attributes=np.concatenate([each.attributes for each in stores]),
    )


def joined_weights(real: TokenStore, chosen: TokenStore, rare_sampling: float, share: float) -> NDArray[np.float64]:
    """(N + M,) how often each face of :func:`together` is drawn: chosen ones ``share`` of the time, each emotion of them alike.

    Raises:
        UserError: more real faces than weights are kept of.
    """
    weights = sampling_weights(real, rare_sampling)
    if callable(weights):
        raise UserError("prior_stage.chosen: goes with at most a million real faces; train without it")
    theirs = np.asarray(sampling_weights(chosen, 1.0))
    return np.concatenate([weights / weights.sum() * (1.0 - share), theirs / theirs.sum() * share])
