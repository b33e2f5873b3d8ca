"""How near painted photographs come to those whose web pictures were seen."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.progress import in_chunks
from vqvae.colour.ycbcr import chroma, luma
from vqvae.tokenizer import Tokenizer

# In waves a pixel.
_DETAIL = (3 / 16, 3 / 8)


@torch.inference_mode()
def photograph_figures(tokenizer: Tokenizer, photographs: NDArray[np.uint8], seen: NDArray[np.uint8]) -> dict[str, float]:
    """Figures over photographs (N, P, P, 3) and what the tokenizer is shown of them, (N, S, S).

    ``photograph_psnr``: of brightness at full size, in dB, mean over faces. ``chroma_error``: mean distance of Cb and Cr in
    levels of 255; the tokenizer is never told a colour, so this is how well it guesses. ``colourfulness``: mean distance of
    the painted colour from grey over that of the photographs; below 1 where it guesses cautiously. ``sharpness``: energy of
    their detail over that of the photographs, see :func:`detail`; below 1 where they are soft.
    """
    device = next(tokenizer.parameters()).device
    error = off = painted_colour = true_colour = painted_detail = true_detail = 0.0
    originals = torch.from_numpy(photographs).split(64)
    for part, original in zip(in_chunks(torch.from_numpy(seen), 64, "painting"), originals, strict=True):
        faces = part.unsqueeze(1).to(device).float() / 255.0
        true = original.permute(0, 3, 1, 2).to(device).float() / 255.0
        made = tokenizer.decode(tokenizer.encode(faces))
        squared = (luma(made) - luma(true)).square().mean(dim=(1, 2, 3)).clamp(min=1e-8)
        error += float(squared.log10().mul(-10.0).sum())
        here, there = chroma(made), chroma(true)
        off += 255.0 * float((here - there).abs().mean(dim=(1, 2, 3)).sum())
        painted_colour += float(here.square().sum(dim=1).sqrt().mean(dim=(1, 2)).sum())
        true_colour += float(there.square().sum(dim=1).sqrt().mean(dim=(1, 2)).sum())
        painted_detail += float(detail(luma(made)).sum())
        true_detail += float(detail(luma(true)).sum())
    count = len(seen)
    return {
        "photograph_psnr": error / count,
        "chroma_error": off / count,
        "colourfulness": painted_colour / max(true_colour, 1e-8),
        "sharpness": painted_detail / max(true_detail, 1e-8),
    }


def detail(bright: Tensor) -> Tensor:
    """(N,) energy that (N, 1, P, P) faces have in waves of 2.7 to 5.3 pixels: what a face of half the side cannot show.

    Under a Hann window: without, the jump from the right edge to the left would count as detail of every face.
    """
    side = bright.shape[-1]
    window = torch.hann_window(side, periodic=False, device=bright.device)
    centred = bright[:, 0].float() - bright[:, 0].float().mean(dim=(1, 2), keepdim=True)
    energy = torch.fft.rfft2(centred * window[:, None] * window).abs().square()
    up, right = torch.fft.fftfreq(side, device=bright.device), torch.fft.rfftfreq(side, device=bright.device)
    waves = (up[:, None].square() + right.square()).sqrt()
    return energy[:, (waves >= _DETAIL[0]) & (waves < _DETAIL[1])].sum(dim=1)
