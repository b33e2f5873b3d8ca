"""Which quantiser a configuration names."""

from __future__ import annotations

from vqvae.config import TokenizerConfig
from vqvae.quantizers.ema_codebook import EmaQuantizer
from vqvae.quantizers.finite_scalar import FiniteScalarQuantizer
from vqvae.quantizers.learned_codebook import PlainQuantizer, SimQuantizer
from vqvae.quantizers.quantizer import Quantizer


def create_quantizer(config: TokenizerConfig) -> Quantizer:
    """The quantiser that ``config.quantizer`` names."""
    if config.quantizer == "fsq":
        return FiniteScalarQuantizer(config.levels, config.groups)
    if config.quantizer == "ema":
        return EmaQuantizer(
            config.codebook_size,
            config.code_dim,
            config.groups,
            decay=config.quantizer_decay,
            restart_after=config.restart_after,
        )
    learned = {"plain": PlainQuantizer, "simvq": SimQuantizer}[config.quantizer]
    return learned(config.codebook_size, config.code_dim, config.groups)
