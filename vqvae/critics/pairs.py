"""What a critic learns from: real faces and made ones that were asked for alike, both painted by one decoder."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from engine.counter_random import hash64
from engine.storage.weights import file_sha256
from vqvae.config import SamplingConfig
from vqvae.prior import MaskedPrior
from vqvae.sampler import sample_tokens
from vqvae.tokenizer import Tokenizer
from vqvae.tokens.cache import Shapes, Write, cached
from vqvae.tokens.store import TokenStore

if TYPE_CHECKING:
    from accelerate import Accelerator

_AT_ONCE = 64


@dataclass(frozen=True)
class FacePairs:
    """N real faces and N made ones; row i of both has one emotion, look and attributes.

    Attributes:
        real, made: (N, C, P, P) uint8.
    """

    real: NDArray
    made: NDArray

    def __len__(self) -> int:
        return len(self.real)


def make_pairs(
    store: TokenStore,
    tokenizer: Tokenizer,
    prior: MaskedPrior,
    faces: NDArray[np.int64],
    accelerator: Accelerator,
    *,
    seed: int,
    folder: Path,
    weights: Mapping[str, Path],
    sampling: SamplingConfig,
) -> FacePairs:
    """Paint the faces of ``store`` numbered ``faces`` and, for each, a sample told the same; or take up what is in ``folder``.

    Args:
        weights: the files of tokenizer and prior, by these names; what is in ``folder`` was made by these or is made again.
        sampling: how the samples are drawn.

    Raises:
        UserError: the folder cannot be written.
    """
    device = accelerator.device
    blank = torch.zeros(1, tokenizer.config.grid**2, tokenizer.config.groups, dtype=torch.int64, device=device)
    shape = tuple(tokenizer.decode(blank).shape[1:])

    def paint(tokens: torch.Tensor) -> NDArray[np.uint8]:
        return (tokenizer.decode(tokens) * 255.0).round().to(torch.uint8).cpu().numpy()

    def fill(first: int, last: int, write: Write) -> None:
        from tqdm import tqdm

        if accelerator.is_main_process:
            print(f"critic: painting {len(faces)} real faces and as many made ones", file=sys.stderr)
        for start in tqdm(range(first, last, _AT_ONCE), desc="pairs", unit=f"{_AT_ONCE} pairs", disable=None, leave=False):
            rows = faces[start : min(start + _AT_ONCE, last)]
            told = (store.labels[rows], store.sources[rows].astype(np.int64), store.attributes[rows].astype(np.int64))
            emotion, source, attributes = (torch.from_numpy(np.array(each)).to(device) for each in told)
            tokens = sample_tokens(
                prior,
                emotion,
                source,
                [int(hash64(seed, row)) >> 32 for row in rows],
                attributes=attributes,
                **sampling.model_dump(),
            )
            at = start * int(np.prod(shape))
            write("made", at, paint(tokens))
            write("real", at, paint(torch.from_numpy(store.tokens[0][rows].astype(np.int64)).to(device)))

    made_from = {part: file_sha256(file) for part, file in weights.items()}
    shapes: Shapes = {name: ("uint8", (len(faces), *shape)) for name in ("real", "made")}
    which = f"{seed} {len(store)} {len(faces)} {int(faces.sum())}"
    return FacePairs(
        **cached(
            folder,
            {**made_from, "sampled": sampling.model_dump_json(), "faces": which},
            shapes,
            len(faces),
            fill,
            accelerator,
        )
    )
