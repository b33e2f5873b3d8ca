"""From any picture of a face to the tensor that a network was trained on. One function, used everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from configs.cli import UserError
from encoder.config import PreprocessingConfig
from encoder.pictures.face_images import BadImage
from encoder.pictures.given import each_picture, picture_of

# ITU-R BT.601 luma, the weights with which PIL's "L" mode (and so FER-2013) turns colour to grey.
LUMA = (0.299, 0.587, 0.114)
# Mean and deviation of ImageNet's red, green and blue, with which torchvision's published weights were trained.
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def to_grey(faces: Any) -> Tensor:
    """Faces as ``(N, 1, H, W)`` float32 in [0, 1].

    Args:
        faces: array or tensor of shape (H, W), (N, H, W), (N, 1, H, W), (N, 3, H, W), (H, W, 3) or (N, H, W, 3); uint8 in
            0..255 or float in [0, 1]; three channels are red, green, blue in that order.

    Raises:
        UserError: another shape or type, or floats outside [0, 1] (0..255 floats are refused, not guessed).
    """
    tensor = faces if isinstance(faces, Tensor) else torch.from_numpy(np.ascontiguousarray(faces))
    if tensor.dtype == torch.uint8:
        tensor = tensor.float().div_(255.0)
    elif tensor.is_floating_point():
        tensor = tensor.float()
        if tensor.numel():
            low, high = float(tensor.detach().min()), float(tensor.detach().max())
            if not (low >= -1e-3 and high <= 1.0 + 1e-3):
                raise UserError(f"faces: float values must lie in [0, 1], got {low:.3g} to {high:.3g}; pass uint8 for 0..255")
    else:
        raise UserError(f"faces: need uint8 or float values, got {tensor.dtype}")
    if tensor.ndim == 2 or (tensor.ndim == 3 and tensor.shape[-1] == 3):
        tensor = tensor.unsqueeze(0)
    if tensor.ndim == 4 and tensor.shape[-1] == 3 and tensor.shape[1] != 3:
        tensor = tensor.permute(0, 3, 1, 2)
    if tensor.ndim == 3:
        tensor = tensor.unsqueeze(1)
    if tensor.ndim != 4 or tensor.shape[1] not in (1, 3):
        raise UserError(f"faces: cannot read shape {tuple(tensor.shape)}; need (N, H, W), (N, 1, H, W) or (N, H, W, 3)")
    if tensor.shape[1] == 3:
        # Pixels mostly lie in memory as three numbers each, and then this is one pass over them.
        tensor = (tensor.movedim(1, -1) @ torch.tensor(LUMA, dtype=tensor.dtype, device=tensor.device)).unsqueeze(1)
    return tensor


def faces_as_grey(faces: Any, size: int) -> Tensor:
    """As :func:`to_grey`, of one face or several in any form, see :func:`encoder.pictures.given.each_picture`.

    Where they are no array and no tensor, those of another size are resized to ``size``, so that they go together.

    Raises:
        UserError: as there, or a picture that cannot be read.
    """
    if isinstance(faces, Tensor | np.ndarray):
        return to_grey(faces)
    given = list(each_picture(faces))
    shapes = {tuple(face.shape) if isinstance(face, Tensor | np.ndarray) else None for face in given}
    if len(shapes) == 1 and None not in shapes:
        return to_grey(torch.stack([torch.as_tensor(face) for face in given]))
    rows = [torch.empty(0, 1, size, size)]
    for number, face in enumerate(given):
        try:
            pixels = to_grey(picture_of(face).pixels)
        except BadImage as error:
            raise UserError(f"face {number}{f' ({face})' if isinstance(face, str | Path) else ''}: {error}") from None
        rows.append(resize(pixels, size))
    return torch.cat(rows)


def resize(grey: Tensor, size: int) -> Tensor:
    """``(N, 1, H, W)`` resized to ``size`` x ``size``, bilinear and antialiased (differentiable)."""
    if grey.shape[-2:] == (size, size):
        return grey
    return F.interpolate(grey, size=(size, size), mode="bilinear", antialias=True, align_corners=False)


def normalise(grey: Tensor, config: PreprocessingConfig) -> Tensor:
    """(N, 1, S, S) grey levels in [0, 1] to network input, as ``config.normalisation`` says; ``imagenet``: (N, 3, S, S)."""
    if config.normalisation == "fixed":
        return (grey - config.mean) / config.std
    if config.normalisation == "imagenet":
        mean, std = (torch.tensor(x, dtype=grey.dtype, device=grey.device) for x in (_IMAGENET_MEAN, _IMAGENET_STD))
        return (grey - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1)
    if config.normalisation == "data_set":
        raise UserError("preprocessing.normalisation: data_set has no constants before training; set fixed, mean and std")
    mean = grey.mean(dim=(1, 2, 3), keepdim=True)
    deviation = (grey - mean).square().mean(dim=(1, 2, 3), keepdim=True).add(1e-4).sqrt()
    return (grey - mean) / deviation
