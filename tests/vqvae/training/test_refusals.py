"""What training cannot start with is said before the faces, which take long, are read, and leaves nothing behind."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import vqvae.stages as stages
from configs.cli import UserError
from vqvae.config import TokenizerConfig
from vqvae.tokenizer import Tokenizer
from vqvae.train import main

TOKENIZER = {"size": 16, "widths": [8, 16], "codebook_size": 8, "code_dim": 4, "groups": 2}
TINY = [
    *(f"tokenizer.{name}={value}" for name, value in TOKENIZER.items()),
    "prior.width=16",
    "prior.depth=1",
    "prior.heads=2",
    "device=cpu",
    "precision=no",
]


@pytest.mark.parametrize(
    ("stage", "settings", "message"),
    [
        ("both", ["--out", "FILE"], "FILE/tokenizer: cannot be made a folder: .*choose another --out"),
        ("both", ["encoder=nowhere"], "nowhere"),
        ("both", ["loss.emotion=0.1"], "encoder: loss.emotion and loss.perceptual need one"),
        ("both", ["loss.perceptual_net=lpips", "loss.perceptual=1"], "needs the package lpips"),
        ("both", ["tokenizer_stage.init=nowhere"], "nowhere"),
        ("both", ["prior_stage.init=nowhere"], "nowhere"),
        ("both", ["prior_stage.batch_size=9", "prior_stage.accumulate=2"], "prior_stage.batch_size: 9 cannot be shared"),
        ("prior", [], "needs a trained tokenizer"),
        ("prior", ["prior_stage.init=TOKENIZER"], "TOKENIZER"),
        ("prior", ["--resume", "nowhere"], "nowhere"),
        ("tokenizer", ["--resume", "TOKENIZER"], "TOKENIZER"),
    ],
)
def test_what_cannot_start_is_refused_before_faces_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str, settings: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(stages, "load_training_faces", lambda *_: pytest.fail("faces were read"))
    monkeypatch.setitem(sys.modules, "lpips", None)
    Path("FILE").write_text("mine")
    tokenizer = Tokenizer(TokenizerConfig(**TOKENIZER))
    tokenizer.save_pretrained("TOKENIZER")
    if message != "needs a trained tokenizer":
        tokenizer.save_pretrained("run/weights/tokenizer")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match=message):
        main([*TINY, "--stage", stage, "--out", "run", *settings])
    assert sorted(tmp_path.rglob("*")) == before
