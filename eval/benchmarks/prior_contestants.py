"""The contestants of the sampling benchmark: ours, muse-maskgit-pytorch and an autoregressive x-transformers model.

Weights are random, of one number of parameters: speed does not depend on what was learned. Each is called the way its
users call it. What had to be changed in a peer:

- muse-maskgit-pytorch 0.3.5 is conditioned on text by a T5 that it downloads. T5's configuration is put into its cache with
  the network's own width, and ``encode_text`` returns one learned vector per face: an emotion instead of a sentence.
- Its ``MaskGit`` refuses to be made without a VQGAN and decodes with it; it gets a small one that hands tokens through, so
  that only tokens are made, as by the others. Its progress bar is taken away. Layers that it makes but does not use
  (self-conditioning) are not counted as parameters.
- x-transformers is not changed. Each face starts with a token that stands for its emotion; ``top_k`` filtering is off.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from encoder.emotions import NUM_EMOTIONS
from vqvae.config import PriorConfig
from vqvae.prior import MaskedPrior, PriorShape
from vqvae.sampler import sample_tokens

MUSE, AUTOREGRESSIVE, OURS = "muse-maskgit-pytorch", "x-transformers", "mimique"
PARAMETERS_WITHIN = 0.05


@dataclass(frozen=True)
class Sampler:
    """One contestant.

    Attributes:
        sample: (emotions (N,) int64, guidance weight) to tokens; guidance 0 is none.
        parameters: those that sampling uses.
        tokens: per face. ``passes``: of the network per face, without guidance.
        guided: whether it can be guided.
        note: width and depth.
    """

    sample: Callable[[Tensor, float], Tensor]
    parameters: int
    tokens: int
    passes: int
    guided: bool
    note: str


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def ours(config: PriorConfig, positions: int, groups: int, codes: int, steps: int) -> Sampler:
    prior = MaskedPrior(PriorShape(prior=config, positions=positions, groups=groups, codebook_size=codes))
    prior.eval().requires_grad_(False)

    def sample(emotions: Tensor, guidance: float) -> Tensor:
        labels = torch.eye(NUM_EMOTIONS)[emotions]
        sources, seeds = torch.zeros_like(emotions), list(range(len(emotions)))
        return sample_tokens(prior, labels, sources, seeds, steps=steps, guidance=guidance, temperature=1.0)

    note = f"width {config.width}, depth {config.depth}, {positions} positions of {groups} code(s)"
    return Sampler(sample, count(prior), positions * groups, min(steps, positions), True, note)


def muse(config: PriorConfig, parameters: int, tokens: int, codes: int, steps: int) -> Sampler:
    """muse-maskgit-pytorch over the largest square of at most ``tokens`` tokens; more would need another sampler.

    Raises:
        ImportError: the package is not installed.
    """
    import muse_maskgit_pytorch.muse_maskgit_pytorch as module
    from muse_maskgit_pytorch.t5 import T5_CONFIGS

    side, head = math.isqrt(tokens), config.width // config.heads
    name = "one-vector-per-face"

    def build(width: int) -> Any:
        T5_CONFIGS[name] = {"config": _Width(width)}
        return module.MaskGitTransformer(
            num_tokens=codes, seq_len=side**2, dim=width, depth=config.depth, heads=config.heads, dim_head=head, t5_name=name
        )

    def used(net: Any) -> int:
        return count(net) - count(net.self_cond_to_init_embed)

    width = matching_width(build, used, parameters)
    transformer = build(width)
    vae = module.VQGanVAE(dim=16, layers=1, codebook_size=2, use_vgg_and_gan=False)
    vae.codebook_size = codes
    maskgit = module.MaskGit(image_size=64, transformer=transformer, vae=vae)
    maskgit.vae.decode_from_ids = lambda ids: ids
    maskgit.eval().requires_grad_(False)
    table = torch.randn(NUM_EMOTIONS, 1, width)
    transformer.encode_text = lambda texts: table[[int(text) for text in texts]]
    module.tqdm = lambda steps, **_: steps

    def sample(emotions: Tensor, guidance: float) -> Tensor:
        texts = [str(int(emotion)) for emotion in emotions]
        return maskgit.generate(texts=texts, fmap_size=side, timesteps=steps, cond_scale=1.0 + guidance).flatten(1)

    return Sampler(sample, used(transformer), side**2, steps, True, f"width {width}, depth {config.depth}")


class _Width:
    """What muse asks T5's configuration for."""

    def __init__(self, d_model: int) -> None:
        self.d_model = d_model


def autoregressive(config: PriorConfig, parameters: int, tokens: int, codes: int) -> Sampler:
    """x-transformers' decoder, one token after the other with cached keys and values.

    Raises:
        ImportError: the package is not installed.
    """
    from x_transformers import AutoregressiveWrapper, Decoder, TransformerWrapper

    def build(width: int) -> Any:
        return TransformerWrapper(
            num_tokens=codes + NUM_EMOTIONS,
            max_seq_len=tokens + 1,
            attn_layers=Decoder(
                dim=width, depth=config.depth, heads=config.heads, attn_dim_head=config.width // config.heads, attn_flash=True
            ),
        )

    width = matching_width(build, count, parameters)
    net = AutoregressiveWrapper(build(width)).eval().requires_grad_(False)

    def sample(emotions: Tensor, guidance: float) -> Tensor:
        start = (codes + emotions).unsqueeze(1)
        return net.generate(start, tokens, filter_logits_fn=lambda logits: logits, cache_kv=True)

    return Sampler(sample, count(net), tokens, tokens, False, f"width {width}, depth {config.depth}")


def matching_width(build: Callable[[int], Any], used: Callable[[Any], int], parameters: int) -> int:
    """The width, a multiple of 4, whose network is nearest to ``parameters``.

    Raises:
        ValueError: even that is not within ``PARAMETERS_WITHIN`` of it.
    """
    with torch.device("meta"):
        sizes = {}
        for width in range(8, 4096, 4):
            sizes[width] = used(build(width))
            if sizes[width] > parameters:
                break
    width = min(sizes, key=lambda each: abs(sizes[each] - parameters))
    if abs(sizes[width] / parameters - 1.0) > PARAMETERS_WITHIN:
        raise ValueError(f"no width has about {parameters} parameters; the nearest has {sizes[width]}")
    return width
