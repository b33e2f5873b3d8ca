"""Real faces with the look of generated ones, so that a classifier cannot tell the two apart by texture."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from configs.cli import UserError
from encoder.data.face_set import FaceSet
from encoder.pictures.face_images import fit_square
from engine.storage.weights import WEIGHTS_FILE, file_sha256
from vqvae.tokenizer import Tokenizer


def as_real_ones(images: Iterable[npt.NDArray[np.uint8]], side: int) -> npt.NDArray[np.uint8]:
    """Generated faces, (H, W) or (H, W, 3), as real grey ones are measured: (N, side, side), by the reader of files.

    Measures compare with FER-2013, which is grey and small: what they say of colour and of detail beyond ``side`` pixels is
    nothing. Faces that are grey and of that side already stay bit for bit.
    """
    small = [fit_square(Image.fromarray(image).convert("L"), side) for image in images]
    return np.stack(small) if small else np.empty((0, side, side), np.uint8)


def tokenizer_of(set_facts: Mapping[str, Any], weights: Path) -> Tokenizer:
    """The tokenizer that decoded a generated set.

    Args:
        set_facts: the set's manifest, or what a plan of rows keeps of it.
        weights: folder that holds the tokenizer in ``tokenizer``.

    Raises:
        UserError: it is not there, or is another one than the set names.
    """
    folder = weights / "tokenizer"
    tokenizer = Tokenizer.from_pretrained(folder)
    if file_sha256(folder / WEIGHTS_FILE) != set_facts["weights_sha256"]["tokenizer"]:
        raise UserError(f"{folder}: is not the tokenizer that made the generated set; give --weights of its generator")
    return tokenizer.eval()


def through_tokenizer(faces: FaceSet, tokenizer: Tokenizer) -> FaceSet:
    """The faces encoded to tokens and decoded again, at their own size; everything else of them as it was.

    They are enlarged to the tokenizer's side and brought back as generated faces are, by Lanczos resampling.
    """
    side, there = faces.images.shape[-1], tokenizer.config.size
    decoded = decoded_again(np.stack([_resized(image, there) for image in faces.images]), tokenizer)
    return dataclasses.replace(faces, images=np.stack([_resized(image, side) for image in decoded]))


def decoded_again(images: npt.NDArray[np.uint8], tokenizer: Tokenizer) -> npt.NDArray[np.uint8]:
    """Faces (N, S, S) of the tokenizer's size, encoded to tokens and decoded again, as the encoder sees them."""
    device, made = next(tokenizer.parameters()).device, []
    for chunk in torch.from_numpy(images).unsqueeze(1).split(256):
        with torch.inference_mode():
            decoded = tokenizer.as_seen(tokenizer.decode(tokenizer.encode(chunk.to(device).float() / 255.0)))
        made.append((decoded.squeeze(1) * 255.0).round().clamp(0, 255).byte().cpu().numpy())
    return np.concatenate(made)


def _resized(image: npt.NDArray[np.uint8], side: int) -> npt.NDArray[np.uint8]:
    return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.LANCZOS))
