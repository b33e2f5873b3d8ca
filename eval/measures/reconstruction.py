"""What survives the tokenizer: PSNR, SSIM, codebook usage, and the emotion by two readers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from configs.cli import UserError
from eval.measures.accuracy import wilson
from eval.measures.distances import frechet_distance

if TYPE_CHECKING:
    from encoder.inference.emotion_encoder import EmotionEncoder, Prediction
    from vqvae.colour.photographs import Photographs
    from vqvae.tokenizer import Tokenizer


def require_ssim() -> None:
    """Refuse, before any work, to measure without the package that computes SSIM.

    Raises:
        UserError: torchmetrics is not installed.
    """
    from importlib.util import find_spec

    if find_spec("torchmetrics") is None:
        raise UserError("SSIM comes from torchmetrics: pip install 'mimique[eval]'")


def kept(before: Prediction, after: Prediction) -> int:
    """How many of N faces have the same likeliest emotion before and after."""
    return int((before.distributions.argmax(dim=1) == after.distributions.argmax(dim=1)).sum())


def measure_tokenizer(
    tokenizer: Tokenizer, readers: Mapping[str, EmotionEncoder], images: npt.NDArray[np.uint8]
) -> dict[str, Any]:
    """Figures over faces (N, S, S) at the tokenizer's size; what is painted in colour is measured as the encoder sees it.

    Of larger faces in colour, what is measured is their luma at that size. The Fréchet distance is between the faces and
    their reconstructions, in each reader's features; its floor is zero.
    """
    import torch
    from torchmetrics.functional.image import structural_similarity_index_measure

    from engine.progress import in_chunks
    from vqvae.quantizers.quantizer import usage

    device, config = next(tokenizer.parameters()).device, tokenizer.config
    counts = torch.zeros(config.groups, config.codebook_size)
    psnr = ssim = 0.0
    same = dict.fromkeys(readers, 0)
    features: dict[str, list[Any]] = {name: [] for name in readers}
    for chunk in in_chunks(torch.from_numpy(images).unsqueeze(1), 256, "reconstructing"):
        faces = chunk.to(device).float() / 255.0
        tokens = tokenizer.encode(faces)
        made = tokenizer.as_seen(tokenizer.decode(tokens))
        for group in range(config.groups):
            counts[group] += torch.bincount(tokens[..., group].flatten().cpu(), minlength=config.codebook_size)
        error = (made - faces).square().mean(dim=(1, 2, 3)).clamp(min=1e-10)
        psnr += float((-10.0 * error.log10()).sum())
        ssim += len(chunk) * float(structural_similarity_index_measure(made, faces, data_range=1.0))
        for name, reader in readers.items():
            before, after = reader.predict(faces), reader.predict(made)
            same[name] += kept(before, after)
            features[name].append(np.stack([before.embeddings.numpy(), after.embeddings.numpy()]))
    share, perplexity = usage(counts)
    count = len(images)
    return {
        "count": count,
        "psnr_db": round(psnr / count, 3),
        "ssim": round(ssim / count, 4),
        "codebook_usage": round(share, 4),
        "codebook_perplexity": round(perplexity, 1),
        "emotion_kept": {name: {"share": round(n / count, 4), "interval": wilson(n, count)} for name, n in same.items()},
        "frechet": {name: float(f"{frechet_distance(*np.concatenate(parts, axis=1)):.5g}") for name, parts in features.items()},
    }


def measure_photographs(tokenizer: Tokenizer, photographs: Photographs) -> dict[str, Any]:
    """Figures over all photographs of a split; see :func:`vqvae.colour.measures.photograph_figures`."""
    from vqvae.colour.measures import photograph_figures

    figures = photograph_figures(tokenizer, *photographs.with_web_pictures(len(photographs), tokenizer.config.size))
    return {"split": "valid", "count": len(photographs), **{name: round(value, 4) for name, value in figures.items()}}
