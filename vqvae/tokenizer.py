"""Faces to tokens and back: a small convolutional autoencoder around a grouped quantiser.

In the manner of VQGAN (Esser et al., 2021), sized for 64 x 64 grey faces on a CPU. Its decoder may paint larger faces than
the encoder sees, in colour: then grey web pictures and sharp photographs share their tokens (the idea of codebook face
restoration, Zhou et al., 2022).
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from configs.cli import UserError
from configs.loader import validate
from engine.storage.weights import load_network, read_config, save_weights
from vqvae.colour.ycbcr import luma, shrink, to_rgb
from vqvae.config import TokenizerConfig
from vqvae.quantizers.create import create_quantizer

KIND = "tokenizer"
# Of 512 codes on a sphere of 16 dimensions: a mistake that a prior makes, and not just any code.
NEIGHBOURS = 8


def _norm(width: int) -> nn.GroupNorm:
    return nn.GroupNorm(min(16, width // 4), width)


class _ResidualBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = _norm(width), nn.Conv2d(width, width, 3, padding=1)
        self.norm2, self.conv2 = _norm(width), nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(F.silu(self.norm1(x)))
        return x + self.conv2(F.silu(self.norm2(y)))


class _Attention(nn.Module):
    """Self-attention over the positions of the coarsest map: ties left and right of a face together."""

    def __init__(self, width: int, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.norm = _norm(width)
        self.qkv = nn.Conv2d(width, 3 * width, 1)
        self.out = nn.Conv2d(width, width, 1)
        nn.init.zeros_(self.out.weight)

    def forward(self, x: Tensor) -> Tensor:
        parts = self.qkv(self.norm(x))
        q, k, v = rearrange(parts, "n (part head c) h w -> part n head (h w) c", part=3, head=self.heads)
        mixed = F.scaled_dot_product_attention(q, k, v)
        return x + self.out(rearrange(mixed, "n head (h w) c -> n (head c) h w", h=x.shape[2]))


class _PhotographTail(nn.Module):
    """(N, ``inputs``, S, S) features to faces in colour, (N, 3, ``painted``, ``painted``), not clamped.

    Brightness is painted at full size. Chroma is painted at the size of the features and enlarged smoothly: it is guessed
    from grey, errs most where brightness jumps, and an error there that changes from pixel to pixel is a coloured fringe.
    """

    def __init__(self, inputs: int, size: int, painted: int) -> None:
        super().__init__()
        width = 2 * inputs
        self.body = nn.Sequential(
            _ResidualBlock(inputs),
            *(nn.Conv2d(inputs, width, 3, padding=1), _norm(width), nn.SiLU()),
            *(nn.Conv2d(width, width, 3, padding=1), _norm(width), nn.SiLU()),
        )
        times = painted // size
        self.luma, self.enlarge = nn.Conv2d(width, times**2, 3, padding=1), nn.PixelShuffle(times)
        self.chroma = nn.Conv2d(width, 2, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        features = self.body(features)
        y = 0.5 * self.enlarge(self.luma(features).float()) + 0.5
        cb_cr = 0.5 * self.chroma(features).float()
        return to_rgb(y, F.interpolate(cb_cr, size=y.shape[-2:], mode="bilinear", align_corners=False))


class Tokenizer(nn.Module):
    """Autoencoder with a discrete middle.

    Faces are (N, 1, S, S) floats in [0, 1]; tokens are (N, grid * grid, groups) int64, row by row. The decoder paints
    (N, C, P, P): as the encoder sees them, or as ``painted_channels`` and ``painted_size`` say.
    """

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        if config.size % (1 << config.halvings):
            times, multiple = config.halvings, 1 << config.halvings
            raise UserError(f"tokenizer.size: {config.size} cannot be halved {times} times; use a multiple of {multiple}")
        self.config = config
        widths, latent = config.widths, config.groups * config.code_dim
        down: list[nn.Module] = []
        inputs = 1
        for index, width in enumerate(widths):
            if index < config.halvings:
                down.append(nn.Conv2d(inputs, width, 4 if index else 6, 2, 1 if index else 2))
            else:
                down.append(nn.Conv2d(inputs, width, 3, 1, 1))
            down += [_ResidualBlock(width) for _ in range(config.depth)]
            inputs = width
        last = widths[-1]
        coarsest = config.size >> config.halvings
        # A grid that halving does not meet, such as 12 of 64, is met by averaging, and left by interpolation.
        fit = [] if coarsest == config.grid else [nn.AdaptiveAvgPool2d(config.grid)]
        self.down = nn.Sequential(*down, _ResidualBlock(last), _norm(last), nn.SiLU(), *fit)
        self.to_codes = nn.Conv2d(last, latent, 1)
        self.quantizer = create_quantizer(config)
        up: list[nn.Module] = [nn.Conv2d(latent, last, 3, padding=1), _Attention(last)]
        up += [nn.Upsample(size=coarsest, mode="bilinear")] if fit else []
        for index in reversed(range(len(widths))):
            up += [_ResidualBlock(widths[index]) for _ in range(config.depth + 1)]
            outputs = widths[index - 1] if index else widths[0] // 2
            # Resize, then convolve: a strided transposed convolution prints a checkerboard (Odena et al., 2016). The
            # change of width comes first, where the map is small; the next block convolves.
            up.append(nn.Conv2d(widths[index], outputs, 1))
            up += [nn.Upsample(scale_factor=2, mode="nearest")] if index < config.halvings else []
        tail = widths[0] // 2
        self.tail = _PhotographTail(tail, config.size, config.painted) if config.paints_photographs else None
        if self.tail is None:
            up += [nn.Conv2d(tail, tail, 3, padding=1), _norm(tail), nn.SiLU(), nn.Conv2d(tail, 1, 3, padding=1)]
        self.up = nn.Sequential(*up)

    def forward(
        self, faces: Tensor, noise: Tensor | None = None, drawn: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Reconstruct.

        Args:
            noise: (N, L, G) in [0, 1): where it is below 1, the decoder is given another code, one of the
                :data:`NEIGHBOURS` nearest of the same codebook: the lower, the nearer. None: the face's own codes.
            drawn: (M, L, G) tokens that are painted too.

        Returns:
            faces (N + M, C, P, P) not clamped, tokens (N, L, G), and the losses that tie vectors to codes and codes to vectors.
        """
        latent = self.to_codes(self.down(2.0 * faces - 1.0))
        n, channels, h, w = latent.shape
        made = self.quantizer(latent.permute(0, 2, 3, 1).reshape(-1, channels))
        vectors, tokens = made.vectors, made.tokens
        if noise is not None:
            vectors = self._swapped(vectors, tokens, noise.reshape(tokens.shape))
        if drawn is not None:
            vectors = torch.cat([vectors, self.quantizer.lookup(drawn.reshape(-1, self.config.groups))])
        return self._paint(vectors.view(-1, h, w, channels)), tokens.view(n, h * w, -1), made.commitment, made.codebook

    def _swapped(self, vectors: Tensor, tokens: Tensor, noise: Tensor) -> Tensor:
        """The vectors, with those of near codes where the (N * L, G) ``noise`` is below 1."""
        with torch.no_grad():
            near = self.quantizer.neighbours(NEIGHBOURS, tokens.device)
            rank = (noise * near.shape[-1]).long().clamp(max=near.shape[-1] - 1)
            others = torch.stack([near[g][tokens[:, g], rank[:, g]] for g in range(self.config.groups)], dim=1)
            other_vectors = self.quantizer.lookup(others)
        swap = (noise < 1.0).repeat_interleave(self.config.code_dim, dim=1)
        return torch.where(swap, other_vectors, vectors)

    def _paint(self, quantised: Tensor) -> Tensor:
        features = self.up(quantised.permute(0, 3, 1, 2) * self.quantizer.scale)
        return 0.5 * features.float() + 0.5 if self.tail is None else self.tail(features)

    def as_seen(self, painted: Tensor) -> Tensor:
        """Painted faces (N, C, P, P) as the encoder would see them: (N, 1, S, S), grey and small."""
        return shrink(luma(painted), self.config.size)

    def keep_tokens(self) -> Self:
        """Freeze all that turns faces into tokens; only the decoder is trained from here on."""
        for part in self._encoding():
            part.eval().requires_grad_(False)
        return self

    def encoding_sha256(self) -> str:
        """Digest of what turns faces into tokens: equal for tokenizers that differ in their decoder only."""
        digest = hashlib.sha256()
        for part in self._encoding():
            for name, tensor in part.state_dict().items():
                digest.update(f"{name} {tuple(tensor.shape)};".encode())
                digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def _encoding(self) -> tuple[nn.Module, ...]:
        return self.down, self.to_codes, self.quantizer

    @property
    def last_layers(self) -> list[Tensor]:
        """Weights whose gradient balances the adversarial against the other losses."""
        last = [self.up[-1]] if self.tail is None else [self.tail.luma, self.tail.chroma]
        return [layer.weight for layer in last]  # type: ignore[misc]

    @torch.inference_mode()
    def encode(self, faces: Tensor) -> Tensor:
        """(N, 1, S, S) in [0, 1] to (N, L, G) tokens."""
        latent = self.to_codes(self.down(2.0 * faces - 1.0))
        n, channels, h, w = latent.shape
        tokens = self.quantizer.tokens(latent.permute(0, 2, 3, 1).reshape(-1, channels))
        return tokens.view(n, h * w, -1)

    @torch.inference_mode()
    def decode(self, tokens: Tensor) -> Tensor:
        """(N, L, G) tokens to faces (N, C, P, P) in [0, 1].

        Raises:
            UserError: another number of positions or groups than this tokenizer makes.
        """
        return self._paint(self.vectors(tokens)).clamp(0.0, 1.0)

    @torch.inference_mode()
    def decode_between(self, tokens: Tensor, others: Tensor, share: Tensor) -> Tensor:
        """Faces whose codes lie so far from those of ``tokens`` towards those of ``others``, both (N, L, G).

        Args:
            share: (N, L) or (L,), 0 for the first and 1 for the second at each position.
        """
        start, end = self.vectors(tokens), self.vectors(others)
        grid = self.config.grid
        return self._paint(torch.lerp(start, end, share.view(-1, grid, grid, 1))).clamp(0.0, 1.0)

    def vectors(self, tokens: Tensor) -> Tensor:
        """(N, L, G) tokens to their vectors (N, grid, grid, C), as the decoder gets them.

        Raises:
            UserError: as :meth:`decode`.
        """
        grid, groups = self.config.grid, self.config.groups
        if tokens.ndim != 3 or tuple(tokens.shape[1:]) != (grid * grid, groups):
            raise UserError(f"tokens: need shape (N, {grid * grid}, {groups}), got {tuple(tokens.shape)}")
        return self.quantizer.lookup(tokens.reshape(-1, groups)).view(len(tokens), grid, grid, -1)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Self:
        """Load strictly from ``folder``; ready for inference.

        Raises:
            UserError: see :func:`engine.storage.weights.load_network`.
        """
        stored = read_config(folder, KIND)
        config = validate(TokenizerConfig, stored["model"], f"{folder}/config.json")
        tokenizer = load_network(folder, stored, lambda: cls(config))
        return tokenizer.eval().requires_grad_(False)

    def save_pretrained(self, folder: str | Path, **notes: Any) -> None:
        """Write weights in half precision with their configuration."""
        config = {"kind": KIND, "model": self.config.model_dump(mode="json"), **notes}
        save_weights(folder, self.state_dict(), config)


def reconstruct_pairs(tokenizer: Tokenizer, images: np.ndarray) -> tuple[Tensor, Tensor]:
    """(faces (N, 1, S, S), reconstructions (N, C, P, P)), both in [0, 1], from uint8 images (N, S, S)."""
    device = next(tokenizer.parameters()).device
    faces = torch.from_numpy(images).unsqueeze(1).to(device).float().div_(255.0)
    size = tokenizer.config.size
    if faces.shape[-1] != size:
        faces = F.interpolate(faces, size=(size, size), mode="bilinear", antialias=True)
    return faces, tokenizer.decode(tokenizer.encode(faces))
