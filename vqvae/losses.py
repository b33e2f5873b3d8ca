"""What a reconstruction must keep: pixels, features, and above all the emotion."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from configs.cli import UserError
from encoder.config import AugmentConfig
from encoder.fitting.augment import NUM_UNIFORMS, augment
from encoder.inference.emotion_encoder import EmotionEncoder
from encoder.models.emotion_net import EncoderOutput

# The frozen encoder never sees a reconstruction as it is: through random shift, scale, blur and noise it can only be
# satisfied by structure, not by the fine texture with which an unperturbed classifier is fooled.
PERTURBATION = AugmentConfig(
    flip=True, rotation=8.0, scale=0.12, shift=0.06, shear=0.05, contrast=0.2, brightness=0.1, erase=0.0, blur=1.0, noise=0.08
)


def feature_distance(a: EncoderOutput, b: EncoderOutput) -> Tensor:
    """Mean squared difference of channel-normalised maps over all stages (Zhang et al. 2018, without learned weights)."""
    parts = []
    for x, y in zip(a.maps, b.maps, strict=True):
        difference = F.normalize(x.float(), dim=1) - F.normalize(y.float(), dim=1)
        parts.append(difference.square().sum(dim=1).mean())
    parts.append((F.normalize(a.embedding, dim=1) - F.normalize(b.embedding, dim=1)).square().sum(dim=1).mean())
    return torch.stack(parts).sum()


class EmotionLoss(nn.Module):
    """Features and emotion distributions of a frozen encoder must survive reconstruction."""

    def __init__(self, encoder: EmotionEncoder) -> None:
        super().__init__()
        self._encoder = encoder

    def forward(self, reconstructed: Tensor, faces: Tensor, u: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(feature distance, divergence) of (N, 1, S, S) pairs in [0, 1] under one random perturbation per pair.

        The divergence is KL(face || reconstruction), summed over the encoder's heads, in nats. ``u``: (N,
        ``NUM_UNIFORMS``) uniform numbers in [0, 1) that choose the perturbations; None: drawn.
        """
        if u is None:
            u = torch.rand(len(faces), NUM_UNIFORMS, device=faces.device)
        with torch.no_grad():
            real = self._encoder.forward_unit(augment(faces, u, PERTURBATION))
        made = self._encoder.forward_unit(augment(reconstructed, u, PERTURBATION))
        divergence = torch.stack(
            [
                F.kl_div(
                    self._encoder.head_log_probabilities(made, head),
                    self._encoder.head_log_probabilities(real, head),
                    log_target=True,
                    reduction="batchmean",
                )
                for head in real.logits
            ]
        ).sum()
        return feature_distance(made, real), divergence


def lpips_distance(device: torch.device) -> Callable[[Tensor, Tensor], Tensor]:
    """LPIPS with its VGG-16 trunk (Zhang et al., 2018) as a function of two (N, 1, S, S) batches in [0, 1].

    Raises:
        UserError: lpips is not installed, or its trunk is neither cached nor can be downloaded.
    """
    try:
        import lpips
    except ImportError:
        raise UserError("loss.perceptual_net=lpips needs the package lpips: pip install lpips") from None
    try:
        net = lpips.LPIPS(net="vgg", verbose=False).to(device).eval().requires_grad_(False)
    except OSError as error:
        raise UserError(
            f"loss.perceptual_net=lpips: vgg16-397923af.pth cannot be had ({error}); put it into "
            "$TORCH_HOME/hub/checkpoints, or use loss.perceptual_net=encoder"
        ) from None
    return lambda a, b: net(a.expand(-1, 3, -1, -1), b.expand(-1, 3, -1, -1), normalize=True).mean()


class PatchDiscriminator(nn.Module):
    """Real or made, patch by patch (Isola et al., 2017): (N, C, S, S) in [0, 1] to (N, H, S/8, S/8) scores.

    A patch spans 38 pixels: it shows skin and hair, and not whether two eyes belong to one face.

    Args:
        whole: score patches of 166 pixels too, as a second of H = 2 maps that counts as much as the first.
    """

    # Beta 1 of Adam, for both sides; and how much faster than the other side this one learns.
    momentum, pace = 0.9, 1.0

    def __init__(self, width: int = 40, channels: int = 1, *, whole: bool = False) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(channels, width, 4, 2, 1), nn.LeakyReLU(0.2)]
        for factor in (1, 2):
            layers += [
                nn.Conv2d(factor * width, 2 * factor * width, 4, 2, 1),
                nn.GroupNorm(8, 2 * factor * width),
                nn.LeakyReLU(0.2),
            ]
        self.body = nn.Sequential(*layers)
        self.score = nn.Conv2d(4 * width, 1, 3, 1, 1)
        self.whole: nn.Module | None = None
        if whole:
            layers = []
            for _ in range(2):
                layers += [nn.Conv2d(4 * width, 4 * width, 4, 2, 1), nn.GroupNorm(8, 4 * width), nn.LeakyReLU(0.2)]
            self.whole = nn.Sequential(*layers, nn.Conv2d(4 * width, 1, 3, 1, 1))

    def forward(self, faces: Tensor) -> Tensor:
        features = self.body(2.0 * faces - 1.0)
        scores = self.score(features).float()
        if self.whole is None:
            return scores
        coarse = F.interpolate(self.whole(features).float(), size=scores.shape[-2:], mode="nearest")
        return torch.cat([scores, coarse], dim=1)


def discriminator_loss(real: Tensor, made: Tensor) -> Tensor:
    """Hinge loss (Lim & Ye, 2017) of scores of real and of made faces."""
    return F.relu(1.0 - real).mean() + F.relu(1.0 + made).mean()


def pixel_loss(reconstructed: Tensor, faces: Tensor) -> Tensor:
    """Mean absolute difference at full, half and quarter resolution: coarse tone errors count at every scale."""
    total = (reconstructed - faces).abs().mean()
    for factor in (2, 4):
        total = total + (F.avg_pool2d(reconstructed, factor) - F.avg_pool2d(faces, factor)).abs().mean()
    return total / 3.0
