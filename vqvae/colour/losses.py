"""What painted photographs must keep: of a grey face what was seen of it, of a photograph its sharpness and colour too."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from encoder.fitting.augment import NUM_UNIFORMS
from vqvae.colour.ycbcr import chroma, luma, shrink
from vqvae.config import TokenizerLossConfig
from vqvae.losses import EmotionLoss, pixel_loss


@dataclass(frozen=True)
class Targets:
    """B grey faces (B, 1, S, S) and B photographs (B, 3, P, P), all in [0, 1]; the first B painted faces are of the former."""

    grey: Tensor
    photographs: Tensor


def painted_losses(
    made: Tensor, targets: Targets, u: Tensor, weights: TokenizerLossConfig, judge: EmotionLoss | None, *, emotion: bool
) -> dict[str, Tensor]:
    """Weighted parts of the loss of painted faces (2B, C, P, P).

    Args:
        u: (2B, ``LOOKING``) numbers in [0, 1) that choose how the encoder's view is perturbed and which window it sees.
        judge: features and emotions by the encoder; None: neither counts.
        emotion: whether the emotion counts yet.
    """
    count, side = len(targets.grey), targets.grey.shape[-1]
    bright, sharp = luma(made), luma(targets.photographs)
    small = shrink(bright, side)
    painted = weights.fine * pixel_loss(bright[count:], sharp)
    if weights.fine < 1:
        painted = painted + (1 - weights.fine) * pixel_loss(small[count:], shrink(sharp, side))
    parts = {"pixel": weights.pixel * (pixel_loss(small[:count], targets.grey) + painted)}
    if weights.chroma and made.shape[1] == 3:
        parts["chroma"] = weights.chroma * (chroma(made[count:]) - chroma(targets.photographs)).abs().mean()
    if weights.gradient:
        parts["gradient"] = weights.gradient * gradient_loss(bright[count:], sharp)
    if judge is None:
        return parts
    perturbing, perturbing_window, place = u.split([NUM_UNIFORMS, NUM_UNIFORMS, 2], dim=1)
    seen = torch.cat([targets.grey, shrink(sharp, side)])
    features, divergence = judge(small.clamp(0.0, 1.0), seen, perturbing)
    if emotion:
        parts["emotion"] = weights.emotion * divergence
    if weights.perceptual:
        # Shrunk faces do not show whether the large ones are sharp; a window of their own pixels does.
        window, true_window = (windows(faces, side, place[count:]) for faces in (bright[count:], sharp))
        near, _ = judge(window.clamp(0.0, 1.0), true_window, perturbing_window[count:])
        parts["perceptual"] = weights.perceptual * (2.0 * features + near) / 3.0
    return parts


def net(faces: Tensor) -> Tensor:
    """How far the grids of every second and of every fourth pixel of (N, 1, P, P) faces differ, place by place.

    Near 0 in photographs. An enlarging layer paints each grid with weights of its own, and the gradient of a strided
    convolution reaches each with another strength; where they disagree, the picture shows a net (Odena et al., 2016).
    """
    total = faces.new_zeros(())
    for apart in (2, 4):
        grids = F.avg_pool2d(F.pixel_unshuffle(faces, apart), 4)
        total = total + (grids - grids.mean(dim=1, keepdim=True)).abs().mean()
    return total


def gradient_loss(made: Tensor, faces: Tensor) -> Tensor:
    """Mean absolute difference of what (N, C, H, W) faces change by from pixel to pixel, to the right and down."""
    difference = made - faces
    return difference.diff(dim=-1).abs().mean() + difference.diff(dim=-2).abs().mean()


def windows(faces: Tensor, side: int, u: Tensor) -> Tensor:
    """One window (N, C, side, side) of each of (N, C, P, P) faces, at a place that (N, 2) numbers in [0, 1) choose."""
    corners = (u * (faces.shape[-1] - side + 1)).long().tolist()
    return torch.stack([face[:, top : top + side, left : left + side] for face, (top, left) in zip(faces, corners, strict=True)])
