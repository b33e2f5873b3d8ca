"""How near painted photographs come to those whose web pictures were seen."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from engine.progress import in_chunks
from vqvae.colour.ycbcr import chroma, luma
from vqvae.tokenizer import Tokenizer


@torch.inference_mode()
def photograph_figures(tokenizer: Tokenizer, photographs: NDArray[np.uint8], seen: NDArray[np.uint8]) -> dict[str, float]:
    """Figures over photographs (N, P, P, 3) and what the tokenizer is shown of them, (N, S, S).

    ``photograph_psnr``: of brightness at full size, in dB, mean over faces. ``chroma_error``: mean distance of Cb and Cr in
    levels of 255; the tokenizer is never told a colour, so this is how well it guesses. ``colourfulness``: mean distance of
    the painted colour from grey over that of the photographs; below 1 where it guesses cautiously.
    """
    device = next(tokenizer.parameters()).device
    error = off = painted_colour = true_colour = 0.0
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
    count = len(seen)
    return {
        "photograph_psnr": error / count,
        "chroma_error": off / count,
        "colourfulness": painted_colour / max(true_colour, 1e-8),
    }
