"""Where a network looks: Grad-CAM heat on faces, and the activation maps of its stages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from configs.cli import UserError
from encoder.emotions import NUM_EMOTIONS
from encoder.inference.emotion_encoder import EmotionEncoder
from encoder.inference.preprocessing import to_grey

# Heat from 0 to 1 as a colour, dark violet to pale yellow: lightness rises evenly, so it reads without colour vision too.
_HEAT_COLOURS = np.array([(45, 11, 90), (124, 29, 111), (196, 55, 76), (240, 113, 41), (252, 186, 52), (252, 248, 170)], float)
# How far the hottest place hides the picture below it.
_OPACITY = 0.6


def grad_cam(
    encoder: EmotionEncoder, images: Any, target: Sequence[int] | None = None, *, layer: int = -1, batch_size: int = 64
) -> npt.NDArray[np.float32]:
    """What in each face speaks for an emotion (Grad-CAM: Selvaraju et al., 2017, eq. 1 and 2).

    The maps of one stage are weighted by the mean gradient of the emotion's log-probability, summed, cut off below zero
    and enlarged bilinearly to the network's input. Each face is scaled by its own hottest place; heat of two faces does
    not compare.

    Args:
        images: N faces as :meth:`encoder.inference.emotion_encoder.EmotionEncoder.predict` takes them.
        target: per face an index into :class:`encoder.emotions.Emotion`; None: the emotion the encoder puts first.
        layer: index into ``EncoderOutput.maps``; the last by default.

    Returns:
        (N, S, S) in [0, 1], S the side of the network's input; all zero where nothing speaks for the emotion.

    Raises:
        UserError: faces that cannot be read, targets of another number or outside 0..6, or a network without maps.
    """
    grey = to_grey(images).detach()
    chosen = None if target is None else _checked_targets(target, len(grey))
    size = encoder.preprocessing.size
    heats = [torch.empty(0, size, size)]
    # A caller inside torch.inference_mode() still gets gradients.
    with torch.inference_mode(False), torch.enable_grad():
        for start in range(0, len(grey), batch_size):
            chunk = grey[start : start + batch_size].clone().to(encoder.device).requires_grad_(True)
            output = encoder.forward_unit(chunk)
            maps = _spatial_map(output.maps, layer)
            scores = encoder.log_distribution(output)
            wanted = scores.argmax(dim=1) if chosen is None else chosen[start : start + batch_size].to(scores.device)
            (gradient,) = torch.autograd.grad(scores.gather(1, wanted[:, None]).sum(), maps)
            weights = gradient.mean(dim=(2, 3), keepdim=True)
            heat = F.relu((weights * maps).sum(dim=1, keepdim=True)).detach().float()
            heat = F.interpolate(heat, size=(size, size), mode="bilinear", align_corners=False)[:, 0]
            peak = heat.amax(dim=(1, 2), keepdim=True)
            heats.append(torch.where(peak > 0, heat / peak.clamp(min=torch.finfo(heat.dtype).tiny), heat).cpu())
    return torch.cat(heats).numpy()


def _checked_targets(target: Sequence[int], count: int) -> Tensor:
    chosen = torch.as_tensor(np.asarray(target, dtype=np.int64))
    if chosen.shape != (count,):
        raise UserError(f"target: need one emotion for each of the {count} faces, got {tuple(chosen.shape)}")
    if ((chosen < 0) | (chosen >= NUM_EMOTIONS)).any():
        raise UserError(f"target: emotions are numbered 0 to {NUM_EMOTIONS - 1}, got {chosen.tolist()[:8]}")
    return chosen


def _spatial_map(maps: tuple[Tensor, ...], layer: int) -> Tensor:
    if not -len(maps) <= layer < len(maps) or maps[layer].ndim != 4:
        raise UserError(f"layer {layer}: this network has {len(maps)} stages; Grad-CAM needs one that keeps a map of the face")
    return maps[layer]


@torch.inference_mode()
def activation_maps(encoder: EmotionEncoder, images: Any) -> tuple[npt.NDArray[np.float32], ...]:
    """What each stage of the network makes of N faces: per stage an array (N, channels, h, w).

    Give few faces, for all maps are kept. Raises UserError: faces that cannot be read.
    """
    output = encoder.forward_unit(to_grey(images).to(encoder.device))
    return tuple(maps.float().cpu().numpy() for maps in output.maps)


def heat_colours(heat: npt.NDArray[np.floating]) -> npt.NDArray[np.uint8]:
    """Heat in [0, 1], any shape, as red, green, blue in a new last axis."""
    place = np.clip(heat, 0.0, 1.0) * (len(_HEAT_COLOURS) - 1)
    anchors = np.arange(len(_HEAT_COLOURS))
    return np.stack([np.interp(place, anchors, channel) for channel in _HEAT_COLOURS.T], axis=-1).round().astype(np.uint8)


def heat_overlay(image: npt.NDArray[np.uint8], heat: npt.NDArray[np.floating]) -> npt.NDArray[np.uint8]:
    """A (H, W) or (H, W, 3) uint8 picture as (H, W, 3) with (h, w) heat in [0, 1], resized to it, laid over it.

    The hotter, the more colour; cold places show the picture as it is. Raises ValueError: other shapes or types.
    """
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3) or heat.ndim != 2:
        raise ValueError(f"need a uint8 image (H, W) or (H, W, 3) and heat (h, w), got {image.shape} {image.dtype}, {heat.shape}")
    base = np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image
    large = torch.from_numpy(np.ascontiguousarray(heat, dtype=np.float32))[None, None]
    if heat.shape != base.shape[:2]:
        large = F.interpolate(large, size=base.shape[:2], mode="bilinear", align_corners=False)
    strength = large[0, 0].clamp(0, 1).numpy()
    opacity = _OPACITY * strength[..., None]
    return (base * (1.0 - opacity) + heat_colours(strength) * opacity).round().astype(np.uint8)
