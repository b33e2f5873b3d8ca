"""Faces to tokens and back: a small convolutional autoencoder around a grouped quantiser.

In the manner of VQGAN (Esser et al., 2021), sized for 64 x 64 grey faces on a CPU.
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
from engine.storage.weights import load_weights, read_config, save_weights
from vqvae.config import TokenizerConfig
from vqvae.quantizers.create import create_quantizer

KIND = "tokenizer"


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


class Tokenizer(nn.Module):
    """Autoencoder with a discrete middle.

    Faces are (N, 1, S, S) floats in [0, 1]; tokens are (N, grid * grid, groups) int64, row by row.
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
        self.up = nn.Sequential(
            *up, nn.Conv2d(tail, tail, 3, padding=1), _norm(tail), nn.SiLU(), nn.Conv2d(tail, 1, 3, padding=1)
        )

    def forward(self, faces: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Reconstruct.

        Returns:
            faces (N, 1, S, S) not clamped, tokens (N, L, G), and the losses that tie vectors to codes and codes to vectors.
        """
        latent = self.to_codes(self.down(2.0 * faces - 1.0))
        n, channels, h, w = latent.shape
        made = self.quantizer(latent.permute(0, 2, 3, 1).reshape(-1, channels))
        return self._paint(made.vectors.view(n, h, w, channels)), made.tokens.view(n, h * w, -1), made.commitment, made.codebook

    def _paint(self, quantised: Tensor) -> Tensor:
        scaled = quantised.permute(0, 3, 1, 2) * self.quantizer.scale
        return 0.5 * self.up(scaled).float() + 0.5

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
    def last_layer(self) -> nn.Parameter:
        """Weight whose gradient balances the adversarial against the other losses."""
        return self.up[-1].weight  # type: ignore[return-value]

    @torch.inference_mode()
    def encode(self, faces: Tensor) -> Tensor:
        """(N, 1, S, S) in [0, 1] to (N, L, G) tokens."""
        latent = self.to_codes(self.down(2.0 * faces - 1.0))
        n, channels, h, w = latent.shape
        tokens = self.quantizer.tokens(latent.permute(0, 2, 3, 1).reshape(-1, channels))
        return tokens.view(n, h * w, -1)

    @torch.inference_mode()
    def decode(self, tokens: Tensor) -> Tensor:
        """(N, L, G) tokens to faces (N, 1, S, S) in [0, 1].

        Raises:
            UserError: another number of positions or groups than this tokenizer makes.
        """
        grid, groups = self.config.grid, self.config.groups
        if tokens.ndim != 3 or tuple(tokens.shape[1:]) != (grid * grid, groups):
            raise UserError(f"tokens: need shape (N, {grid * grid}, {groups}), got {tuple(tokens.shape)}")
        quantised = self.quantizer.lookup(tokens.reshape(-1, groups)).view(len(tokens), grid, grid, -1)
        return self._paint(quantised).clamp(0.0, 1.0)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Self:
        """Load strictly from ``folder``; ready for inference.

        Raises:
            UserError: see :func:`engine.storage.weights.load_weights`.
        """
        stored = read_config(folder, KIND)
        tokenizer = cls(validate(TokenizerConfig, stored["model"], f"{folder}/config.json"))
        load_weights(folder, tokenizer, stored)
        return tokenizer.eval().requires_grad_(False)

    def save_pretrained(self, folder: str | Path, **notes: Any) -> None:
        """Write weights in half precision with their configuration."""
        config = {"kind": KIND, "model": self.config.model_dump(mode="json"), **notes}
        save_weights(folder, self.state_dict(), config)


def reconstruct_pairs(tokenizer: Tokenizer, images: np.ndarray) -> tuple[Tensor, Tensor]:
    """(faces, reconstructions), both (N, 1, S, S) in [0, 1], from uint8 images (N, S, S)."""
    device = next(tokenizer.parameters()).device
    faces = torch.from_numpy(images).unsqueeze(1).to(device).float().div_(255.0)
    size = tokenizer.config.size
    if faces.shape[-1] != size:
        faces = F.interpolate(faces, size=(size, size), mode="bilinear", antialias=True)
    return faces, tokenizer.decode(tokenizer.encode(faces))
