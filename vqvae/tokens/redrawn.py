"""Real faces that a prior drew anew, in part or as a whole: what a decoder will have to paint."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from engine.counter_random import hash64
from vqvae.prior import MaskedPrior
from vqvae.sampler import sample_tokens
from vqvae.tokens.cache import Shapes, Write, cached
from vqvae.tokens.store import TokenStore

if TYPE_CHECKING:
    from accelerate import Accelerator

_AT_ONCE = 64
# Share of a face's positions that is drawn anew; more than all is all: a third of the faces are new as a whole.
LEAST, MOST = 0.5, 1.25


def redrawn_tokens(
    store: TokenStore,
    prior: MaskedPrior,
    count: int,
    accelerator: Accelerator,
    *,
    seed: int,
    folder: Path,
    prior_sha256: str,
) -> NDArray[np.int16]:
    """Tokens (``count``, L, G) of faces of ``store``, some positions of which ``prior`` drew as its ``sampling`` says.

    Each face is told what it is; faces come round again when ``count`` is more than there are. They are kept in ``folder``
    and taken up there if they were made from the same.

    Raises:
        UserError: the folder cannot be written.
    """
    device, positions = accelerator.device, prior.shape.positions
    rows = np.random.default_rng(seed).permutation(np.resize(np.arange(len(store)), count))
    # One mask a batch, as the sampler takes one: batches do not depend on how many processes share them.
    parts = np.array_split(np.arange(count), -(-count // _AT_ONCE))

    def fill(first: int, last: int, write: Write) -> None:
        from tqdm import tqdm

        if accelerator.is_main_process:
            print(f"decoder: the prior draws {count} faces anew", file=sys.stderr)
        mine = [part for part in parts if first <= part[0] < last]
        for part in tqdm(mine, desc="drawn", unit="batch", disable=None, leave=False):
            here = rows[part]
            told = (store.labels[here], store.sources[here].astype(np.int64), store.attributes[here].astype(np.int64))
            emotion, source, attributes = (torch.from_numpy(np.array(each)).to(device) for each in told)
            known = torch.from_numpy(np.array(store.tokens[0][here]).astype(np.int64)).to(device)
            tokens = sample_tokens(
                prior,
                emotion,
                source,
                [int(hash64(seed, place)) >> 32 for place in part],
                attributes=attributes,
                known=known,
                hidden=hidden_positions(positions, np.random.default_rng((seed, int(part[0])))),
                **prior.sampling.model_dump(),
            )
            write("tokens", int(part[0]) * known[0].numel(), tokens.cpu().numpy())

    made_from = {"prior": prior_sha256, "sampled": prior.sampling.model_dump_json(), "faces": f"{seed} {len(store)}"}
    dtype = "int16" if prior.shape.codebook_size <= 1 << 15 else "int32"
    shapes: Shapes = {"tokens": (dtype, (count, positions, prior.shape.groups))}
    return cached(folder, made_from, shapes, count, fill, accelerator)["tokens"]


def hidden_positions(positions: int, luck: np.random.Generator) -> torch.Tensor:
    """(L,) bool: which positions are drawn anew, at least half of them."""
    number = round(positions * min(1.0, luck.uniform(LEAST, MOST)))
    hidden = torch.zeros(positions, dtype=torch.bool)
    hidden[torch.from_numpy(luck.permutation(positions)[:number])] = True
    return hidden
