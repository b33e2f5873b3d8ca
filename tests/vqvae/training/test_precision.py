"""Codes are chosen in float32, whatever precision the networks around them compute in."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from vqvae.config import TokenizerConfig
from vqvae.quantizers.create import create_quantizer
from vqvae.quantizers.quantizer import Quantised, Quantizer

QUANTIZERS = ("ema", "plain", "simvq", "fsq")
LEVELS = {"quantizer": "fsq", "levels": (8, 8, 8), "code_dim": 3}


@pytest.mark.parametrize("name", QUANTIZERS)
def test_autocast_changes_no_token(name: str) -> None:
    torch.manual_seed(0)
    more = LEVELS if name == "fsq" else {"quantizer": name, "code_dim": 8}
    quantizer = create_quantizer(TokenizerConfig(codebook_size=512, groups=2, **more)).eval()
    vectors = torch.randn(2000, 2 * quantizer.dim)
    plain = quantizer(vectors)
    with torch.autocast("cpu", torch.bfloat16):
        made, tokens = quantizer(vectors), quantizer.tokens(vectors)
    assert torch.equal(made.tokens, plain.tokens)
    assert torch.equal(tokens, plain.tokens)
    assert made.vectors.dtype == torch.float32


@pytest.mark.parametrize("name", ["ema", "simvq"])
def test_training_in_bf16_chooses_the_codes_that_float32_chooses(
    tiny_runs: Any, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    original, same = Quantizer.forward, list[bool]()

    def compared(self: Quantizer, vectors: torch.Tensor) -> Quantised:
        assert torch.is_autocast_enabled("cpu")
        with torch.autocast("cpu", enabled=False):
            expected = self.tokens(vectors)
        # The very first batch is what places the codes of `ema`.
        ready = bool(getattr(self, "started", True))
        made = original(self, vectors)
        if ready:
            same.append(torch.equal(made.tokens, expected))
        return made

    monkeypatch.setattr(Quantizer, "forward", compared)
    settings = ["precision=bf16", f"tokenizer.quantizer={name}", "tokenizer.codebook_size=256", "tokenizer_stage.epochs=1"]
    assert tiny_runs.train("run", "tokenizer", *settings) == 0
    assert same == [True] * len(same)
    assert len(same) >= 5
