"""Batches that are half grey faces and half colour photographs, as a pure function of the step."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from configs.cli import UserError
from encoder.fitting.augment import NUM_UNIFORMS as PERTURBING
from engine.training.batches import GlobalBatches, uniforms
from vqvae.colour import degradation
from vqvae.colour.degradation import degrade, luma
from vqvae.colour.photographs import Photographs
from vqvae.faces import Faces

# Gentle, and no turns or shifts: both kinds of faces are aligned, and resampling would blur the photographs.
CONTRAST, BRIGHTNESS = 0.12, 0.06
MOST_SWAPPED = 0.25  # of a face's codes
_CHANGING = 3
# Numbers of a face that perturb it, perturb a window of it, and place the window.
LOOKING = 2 * PERTURBING + 2


class HalfAndHalf(GlobalBatches):
    """Every even place of a batch is one of ``greys`` items 0.., every odd one of ``colours`` items, numbered after them.

    Each kind has an order of its own, so that the smaller one comes round more often.
    """

    def __init__(self, greys: int, colours: int, batch_size: int, *, seed: int, rank: int = 0, world: int = 1) -> None:
        super().__init__(greys + colours, batch_size, seed=seed, rank=rank, world=world)
        if batch_size % (2 * world):
            raise UserError(
                f"tokenizer_stage.batch_size: {batch_size} cannot be half grey and half colour in {world} process(es); "
                f"use a multiple of {2 * world}"
            )
        self._greys = greys
        self._halves = [GlobalBatches(count, batch_size // 2, seed=seed) for count in (greys, colours)]

    def _items(self, step: int, places: NDArray[np.int64]) -> NDArray[np.int64]:
        grey, colour = (half.whole(step)[places // 2] for half in self._halves)
        return np.where(places % 2 == 0, grey, self._greys + colour)


class PairBatches:
    """What a rank learns from in a step; can be sent to another process.

    Args:
        codes: codes of a face (L * G).
        token_noise: share of faces some of whose codes are to be swapped.

    Calling it with a step gives, for B faces of each kind: grey faces and degraded photographs (B, S, S) uint8, the
    photographs (B, P, P, 3) uint8, then for the grey faces and for the photographs float32 numbers in [0, 1) that choose
    what the losses look at (B, ``LOOKING``), and for both the noise (B, codes) of :meth:`vqvae.tokenizer.Tokenizer.forward`.
    """

    def __init__(
        self,
        greys: Faces,
        photographs: Photographs,
        batches: HalfAndHalf,
        *,
        seed: int,
        size: int,
        codes: int,
        token_noise: float,
    ) -> None:
        self._greys, self._photographs, self._batches = greys, photographs, batches
        self._seed, self._size, self._codes, self._token_noise = seed, size, codes, token_noise

    def __call__(self, step: int) -> tuple[np.ndarray, ...]:
        _, items = self._batches(step)
        # By the step and not by the epoch: the two kinds have epochs of different length.
        parts = (_CHANGING, degradation.NUM_UNIFORMS, LOOKING, 2 + self._codes)
        u = uniforms(self._seed, step, items, sum(parts))
        changing, web, looking, swapping = np.split(u, np.cumsum(parts[:-1]), axis=1)
        grey = changed(self._greys.images_at(items[::2]), changing[::2])
        photographs = changed(self._photographs.images_at(items[1::2] - len(self._greys)), changing[1::2])
        pictures = [degrade(face, row, self._size) for face, row in zip(luma(photographs), web[1::2], strict=True)]
        noise = token_noise(swapping, self._token_noise)
        return grey, np.stack(pictures), photographs, looking[::2], looking[1::2], noise[::2], noise[1::2]


def changed(faces: NDArray[np.uint8], u: NDArray[np.float32]) -> NDArray[np.uint8]:
    """(N, H, W) or (N, H, W, 3) faces, mirrored and in other light by (N, 3) numbers in [0, 1)."""
    wide = u.reshape(len(u), -1, *[1] * (faces.ndim - 1))
    mirrored = np.where(wide[:, 0] < 0.5, faces, faces[:, :, ::-1]).astype(np.float32)
    gain, shift = 1.0 + CONTRAST * (2.0 * wide[:, 1] - 1.0), 255.0 * BRIGHTNESS * (2.0 * wide[:, 2] - 1.0)
    mean = mirrored.mean(axis=tuple(range(1, faces.ndim)), keepdims=True)
    return ((mirrored - mean) * gain + mean + shift).round().clip(0, 255).astype(np.uint8)


def token_noise(u: NDArray[np.float32], share: float) -> NDArray[np.float32]:
    """(..., 2 + codes) numbers in [0, 1) to (..., codes): of a ``share`` of the faces, up to a quarter is below 1."""
    most = np.where(u[..., :1] < share, MOST_SWAPPED * u[..., 1:2], 0.0)
    swapped = u[..., 2:] < most
    return np.divide(u[..., 2:], most, where=swapped, out=np.full_like(u[..., 2:], 2.0))
