"""Pictures that show a person how training went."""

from __future__ import annotations

import io
from pathlib import Path

import torch
from torch import Tensor

from encoder.atomic import atomic_write_bytes
from encoder.emotions import EMOTION_NAMES, NUM_EMOTIONS
from vqvae.prior import MaskedPrior
from vqvae.sampler import sample_tokens
from vqvae.tokenizer import Tokenizer
from vqvae.tokenizer_stage import reconstruct_pairs


def save_grid(faces: Tensor, columns: int, path: Path, *, zoom: int = 2, labels: tuple[str, ...] = ()) -> None:
    """Write (N, 1, S, S) faces in [0, 1] row by row as one PNG, with an optional label before each row.

    Its metadata say that it comes from a model: grids hold generated faces, or reconstructions.
    """
    from PIL import Image, ImageDraw, ImageFont
    from PIL.PngImagePlugin import PngInfo

    size, gap = faces.shape[-1] * zoom, 2
    rows = -(-len(faces) // columns)
    left = 110 if labels else 0
    sheet = Image.new("L", (left + columns * (size + gap), rows * (size + gap)), 255)
    pixels = (faces.clamp(0, 1) * 255).round().to(torch.uint8).squeeze(1).cpu().numpy()
    for index, face in enumerate(pixels):
        tile = Image.fromarray(face).resize((size, size), Image.Resampling.BICUBIC)
        sheet.paste(tile, (left + index % columns * (size + gap), index // columns * (size + gap)))
    draw = ImageDraw.Draw(sheet)
    for row, label in enumerate(labels):
        place = (left - 8, row * (size + gap) + size // 2)
        draw.text(place, label, fill=0, anchor="rm", font=ImageFont.load_default(16))
    info = PngInfo()
    info.add_text("Software", "Mimique")
    info.add_text("Description", "Faces generated or reconstructed by a model.")
    info.add_text("AI-generated", "true")
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG", pnginfo=info)
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write_bytes(path, buffer.getvalue())


def reconstruction_grid(tokenizer: Tokenizer, images, path: Path, count: int = 24, columns: int = 12) -> None:  # type: ignore[no-untyped-def]
    """Faces in every odd row, their reconstructions below them."""
    stride = max(1, len(images) // count)
    faces, made = reconstruct_pairs(tokenizer, images[::stride][:count])
    rows = [part for pair in zip(faces.split(columns), made.split(columns), strict=True) for part in pair]
    save_grid(torch.cat(rows), columns, path)


def emotion_grid(prior: MaskedPrior, tokenizer: Tokenizer, source: int, path: Path, columns: int = 8) -> None:
    """One row of unselected samples per emotion; a column shares its seed."""
    emotion = torch.eye(NUM_EMOTIONS).repeat_interleave(columns, 0)
    seeds = list(range(columns)) * NUM_EMOTIONS
    tokens = sample_tokens(prior, emotion, torch.full((len(seeds),), source), seeds)
    save_grid(tokenizer.decode(tokens), columns, path, labels=EMOTION_NAMES)
