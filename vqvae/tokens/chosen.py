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


def joined(real: TokenStore, chosen: TokenStore) -> TokenStore:
    """Both in memory, the real faces first.

    Raises:
        UserError: they tell different attributes, or there are no chosen faces.
    """
    if not len(chosen):
        raise UserError("prior_stage.chosen: the file holds no faces; python -m generation.curate writes some")
    if real.attributes.shape[1] != chosen.attributes.shape[1]:
        raise UserError(
            f"prior_stage.chosen: its faces have {chosen.attributes.shape[1]} attributes, but prior.attributes names "
            f"{real.attributes.shape[1]}; draw them with weights of this configuration"
        )
    return TokenStore(
        tokens=np.concatenate([real.tokens, chosen.tokens.astype(real.tokens.dtype)], axis=1),
        labels=np.concatenate([real.labels, chosen.labels]),
        sources=np.concatenate([real.sources, chosen.sources]),
        attributes=np.concatenate([real.attributes, chosen.attributes]),
    )


def joined_weights(real: TokenStore, chosen: TokenStore, rare_sampling: float, share: float) -> NDArray[np.float64]:
    """(N + M,) how often each face of :func:`joined` is drawn: chosen ones ``share`` of the time, each emotion of them alike.

    Raises:
        UserError: more real faces than weights are kept of.
    """
    weights = sampling_weights(real, rare_sampling)
    if callable(weights):
        raise UserError("prior_stage.chosen: goes with at most a million real faces; train without it")
    theirs = np.asarray(sampling_weights(chosen, 1.0))
    return np.concatenate([weights / weights.sum() * (1.0 - share), theirs / theirs.sum() * share])
