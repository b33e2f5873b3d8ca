"""Bars of what takes long: on a terminal, with rate and time left, and nowhere else."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from itertools import count
from typing import Any

import numpy as np
import pytest
import torch

from encoder.data.face_set import FaceSet
from encoder.inference.views import averaged_logits
from engine.progress import in_chunks
from eval.measures.reconstruction import measure_tokenizer
from vqvae.config import TokenizerConfig
from vqvae.tokenizer import Tokenizer


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """``shown(act, stream)``: what ``act`` writes to its standard error, on a clock by which everything takes seconds."""

    def call(act: Callable[[], Any], stream: io.StringIO) -> str:
        ticks = count(step=2)
        with monkeypatch.context() as patch:
            patch.setattr("tqdm.std.time", lambda: float(next(ticks)))
            patch.setattr(sys, "stderr", stream)
            act()
        return stream.getvalue()

    return call


def works(name: str, small_encoder: Callable[..., Any]) -> Callable[[], Any]:
    images = np.random.default_rng(0).integers(0, 256, (600, 16, 16), dtype=np.uint8)
    encoder = small_encoder(16)
    if name == "chunks":
        return lambda: [len(chunk) for chunk in in_chunks(torch.from_numpy(images), 256, "reading")]
    if name == "predict":
        return lambda: encoder.predict(images)
    if name == "ten-crop":
        ids = tuple(map(str, range(len(images))))
        faces = FaceSet(images, np.zeros(len(images), np.int8), np.zeros((len(images), 8), np.float32), ids, "drawn")
        return lambda: averaged_logits(encoder, faces, "ten-crop")
    torch.manual_seed(0)
    tokenizer = Tokenizer(TokenizerConfig(size=16, widths=(8, 16), side=4, codebook_size=8, code_dim=4)).eval()
    return lambda: torch.inference_mode()(measure_tokenizer)(tokenizer, {}, images)


@pytest.mark.parametrize("name", ["chunks", "predict", "ten-crop", "reconstruction"])
def test_a_bar_is_seen_on_a_terminal_only(shown: Callable[..., str], small_encoder: Callable[..., Any], name: str) -> None:
    act = works(name, small_encoder)
    seen = shown(act, Terminal())
    assert "/6000" in seen if name == "ten-crop" else "/600" in seen
    assert "<" in seen
    assert "s/" in seen or "/s" in seen
    assert shown(act, io.StringIO()) == ""
