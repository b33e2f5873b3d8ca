"""A discriminator of brightness alone, that sees patches as they are and windows through a frozen encoder."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from encoder.inference.emotion_encoder import EmotionEncoder
from vqvae.colour.losses import windows
from vqvae.colour.ycbcr import luma
from vqvae.losses import PatchDiscriminator

# The picture is shifted by fewer pixels than this before it is cut into patches: the gradient of a strided convolution is
# uneven, and one that always lies in the same place prints its own net.
_SHIFTS = 8
_WIDTH = 64


class BrightnessDiscriminator(nn.Module):
    """Real or painted: (N, 3, P, P) in [0, 1] to (N, K) scores of patches and of points in feature maps.

    Colour is not seen: it is guessed from grey, so it would give every painted face away, and the decoder would answer with
    tints. The second half are small heads on maps of the frozen emotion encoder (projected GAN, Sauer et al., 2021), that
    looks at a window at full size: features that need not be learned tell skin, eyes and teeth at once.
    """

    # Beta 1 of Adam, for both sides: what the other did some steps ago is no longer true. And how much faster this side is.
    momentum, pace = 0.5, 2.0

    def __init__(self, encoder: EmotionEncoder) -> None:
        super().__init__()
        self.patches = PatchDiscriminator(32, whole=True)
        # The encoder is frozen and belongs to somebody else: no part of what is trained, stored or moved here.
        # It looks at as many pixels as it is made for: shrinking a larger window would print a net, too.
        side = encoder.preprocessing.size
        self._encoder, self._side = (encoder,), side
        with torch.no_grad():
            maps = encoder.forward_unit(torch.zeros(1, 1, side, side, device=encoder.device)).maps
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Conv2d(each.shape[1], _WIDTH, 3, padding=1), nn.LeakyReLU(0.2), nn.Conv2d(_WIDTH, 1, 1))
            for each in maps
        )

    @property
    def body(self) -> nn.Module:
        """What is worth compiling."""
        return self.patches.body

    def forward(self, faces: Tensor) -> Tensor:
        bright = luma(faces)
        down, right = torch.randint(_SHIFTS, (2,)).tolist()
        shifted = F.pad(bright, (right, 0, down, 0), mode="reflect")[..., : bright.shape[-2], : bright.shape[-1]]
        scores = [self.patches(shifted).flatten(1)]
        window = windows(bright, self._side, torch.rand(len(faces), 2)).clamp(0.0, 1.0)
        for each, head in zip(self._encoder[0].forward_unit(window).maps, self.heads, strict=True):
            scores.append(head(each).flatten(1).float())
        return torch.cat(scores, dim=1)
