"""What training cannot start with is said before the faces, which take long, are read, and leaves nothing behind."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

import vqvae.stages as stages
from configs.cli import UserError


@pytest.mark.parametrize(
    ("stage", "settings", "message"),
    [
        ("both", ["--out", "FILE"], "FILE/tokenizer: cannot be made a folder: .*choose another --out"),
        ("both", ["encoder=nowhere"], "nowhere"),
        ("both", ["loss.emotion=0.1"], "encoder: loss.emotion and loss.perceptual need one"),
        ("both", ["loss.perceptual_net=lpips", "loss.perceptual=1"], "needs the package lpips"),
        ("both", ["tokenizer_stage.init=nowhere"], "nowhere"),
        ("both", ["prior_stage.init=nowhere"], "nowhere"),
        ("both", ["tokenizer_stage.trainable=decoder"], "name it in init"),
        ("both", ["prior_stage.batch_size=9", "prior_stage.accumulate=2"], "prior_stage.batch_size: 9 cannot be shared"),
        ("both", ["tokenizer_stage.accumulate=3"], r"batch_size: 8 cannot be shared by 1 process\(es\) in 3"),
        ("both", ["tokenizer.codebok_size=3"], "did you mean codebook_size"),
        ("both", ["faces.source=shards"], r"faces.shards: name the folder or URL"),
        ("prior", ["--out", "EMPTY"], "needs a trained tokenizer"),
        ("prior", ["tokenizer.groups=1"], "other tokenizer settings"),
        ("prior", ["prior_stage.init=TOKENIZER"], "TOKENIZER"),
        ("prior", ["--resume", "nowhere"], "nowhere"),
        ("tokenizer", ["--resume", "TOKENIZER"], "TOKENIZER"),
    ],
)
def test_what_cannot_start_is_refused_before_faces_are_read(
    tiny_runs: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str, settings: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(stages, "load_training_faces", lambda *_: pytest.fail("faces were read"))
    monkeypatch.setitem(sys.modules, "lpips", None)
    Path("FILE").write_text("mine")
    for folder in ("TOKENIZER", "run/weights/tokenizer"):
        tiny_runs.untrained_tokenizer(tmp_path / folder)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match=message):
        tiny_runs.train("run", stage, *settings)
    assert sorted(tmp_path.rglob("*")) == before
