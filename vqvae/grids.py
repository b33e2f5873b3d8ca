"""Pictures that show a person how training went."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from encoder.emotions import EMOTION_NAMES, NUM_EMOTIONS
from engine.storage.atomic import atomic_write_bytes, make_folder
from engine.storage.provenance import Kind, png
from vqvae.prior import MaskedPrior
from vqvae.sampler import sample_tokens
from vqvae.tokenizer import Tokenizer, reconstruct_pairs


def grid_png(faces: Tensor, columns: int, *, labels: tuple[str, ...] = (), kind: Kind = "generated") -> bytes:
    """(N, C, S, S) faces in [0, 1], grey or RGB, row by row as one PNG, small ones twice as large, with an optional label
    before each row.

    ``kind`` goes into its metadata: see :func:`engine.storage.provenance.png`.
    """
    from PIL import Image, ImageDraw, ImageFont

    size, gap = faces.shape[-1] * (1 if faces.shape[-1] >= 128 else 2), 2
    rows = -(-len(faces) // columns)
    left = 110 if labels else 0
    grey = faces.shape[1] == 1
    sheet = Image.new("L" if grey else "RGB", (left + columns * (size + gap), rows * (size + gap)), 255 if grey else "white")
    pixels = (faces.clamp(0, 1) * 255).round().to(torch.uint8).movedim(1, -1).cpu().numpy()
    for index, face in enumerate(pixels):
        tile = Image.fromarray(face.squeeze(-1) if grey else face).resize((size, size), Image.Resampling.BICUBIC)
        sheet.paste(tile, (left + index % columns * (size + gap), index // columns * (size + gap)))
    draw = ImageDraw.Draw(sheet)
    for row, label in enumerate(labels):
        place = (left - 8, row * (size + gap) + size // 2)
        draw.text(place, label, fill="black", anchor="rm", font=ImageFont.load_default(16))
    return png(sheet, {}, kind=kind)


def reconstruction_grid(tokenizer: Tokenizer, images: np.ndarray, path: Path) -> None:
    """Write :func:`reconstruction_png`."""
    _write(path, reconstruction_png(tokenizer, images))


def before_after_grid(tokenizer: Tokenizer, grey: np.ndarray, photographs: np.ndarray, seen: np.ndarray, path: Path) -> None:
    """Write :func:`before_after_png`."""
    _write(path, before_after_png(tokenizer, grey, photographs, seen))


def emotion_grid(prior: MaskedPrior, tokenizer: Tokenizer, source: int, path: Path) -> None:
    """Write :func:`emotion_png`."""
    _write(path, emotion_png(prior, tokenizer, source))


def reconstruction_png(tokenizer: Tokenizer, images: np.ndarray, count: int = 24, columns: int = 12) -> bytes:
    """Faces in every odd row, their reconstructions below them, as PNG."""
    stride = max(1, len(images) // count)
    return _pairs_png([reconstruct_pairs(tokenizer, images[::stride][:count])], columns)


def before_after_png(
    tokenizer: Tokenizer, grey: np.ndarray, photographs: np.ndarray, seen: np.ndarray, count: int = 24, columns: int = 12
) -> bytes:
    """As :func:`reconstruction_png` of grey faces (N, S, S); below them, photographs (M, P, P, 3) and what is painted where
    of each only (M, S, S) is ``seen``."""
    one, other = (np.arange(0, len(faces), max(1, len(faces) // count))[:count] for faces in (grey, seen))
    true = torch.from_numpy(photographs[other]).movedim(-1, 1).float() / 255.0
    _, made = reconstruct_pairs(tokenizer, seen[other])
    return _pairs_png([reconstruct_pairs(tokenizer, grey[one]), (true, made)], columns)


def _pairs_png(pairs: list[tuple[Tensor, Tensor]], columns: int) -> bytes:
    """Faces in every odd row, what became of them below, all as large and as colourful as that."""
    rows: list[Tensor] = []
    for faces, made in pairs:
        shown = F.interpolate(faces.to(made.device), size=made.shape[-2:]) if faces.shape[-1] < made.shape[-1] else faces
        for row in zip(shown.expand(-1, made.shape[1], -1, -1).split(columns), made.split(columns), strict=True):
            rows += row
    return grid_png(torch.cat([row.to(rows[0].device) for row in rows]), columns, kind="reconstructed")


def emotion_png(prior: MaskedPrior, tokenizer: Tokenizer, source: int, columns: int = 8) -> bytes:
    """One row of unselected samples per emotion, as PNG; a column shares its seed. Both on the same device."""
    device = prior.positions.device
    emotion = torch.eye(NUM_EMOTIONS, device=device).repeat_interleave(columns, 0)
    seeds = list(range(columns)) * NUM_EMOTIONS
    source_row = torch.full((len(seeds),), source, device=device)
    tokens = sample_tokens(prior, emotion, source_row, seeds, **prior.sampling.model_dump())
    return grid_png(tokenizer.decode(tokens), columns, labels=EMOTION_NAMES)


def _write(path: Path, png: bytes) -> None:
    make_folder(path.parent)
    atomic_write_bytes(path, png)
