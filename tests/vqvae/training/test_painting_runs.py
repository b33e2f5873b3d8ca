"""Training of a tokenizer that paints photographs, broken off, resumed, and ended when somebody likes what it paints."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from configs.cli import UserError
from engine.storage.checkpoint import checkpoint_steps
from vqvae.colour.stage import PaintingTask
from vqvae.losses import PatchDiscriminator
from vqvae.tokenizer import Tokenizer
from vqvae.tokenizer_stage import TokenizerTask

# 88 faces: 11 steps an epoch.
SHORT = ["tokenizer_stage.epochs=0.7"]


def test_a_run_leaves_weights_figures_and_pictures_in_colour(tiny_runs: Any, painting: list[str]) -> None:
    assert tiny_runs.train("run", "tokenizer", *painting, *SHORT, "tokenizer_stage.evaluate_every=4") == 0
    tokenizer = Tokenizer.from_pretrained(tiny_runs.weights("run", "tokenizer").parent)
    assert tokenizer.config.paints_photographs
    for path in (tiny_runs.folder / "run" / "reconstructions.png", *(tiny_runs.folder / "run/tokenizer/samples").iterdir()):
        with Image.open(path) as picture:
            assert picture.mode == "RGB"
    last = tiny_runs.figures("run", "tokenizer")[-1]
    assert {"pixel", "chroma", "gradient", "discriminator", "commitment"} <= set(last)
    config = tiny_runs.weights("run", "tokenizer").with_name("config.json").read_text()
    assert {"photograph_psnr", "chroma_error", "colourfulness", "sharpness"} <= {word.strip('" :') for word in config.split('"')}
    assert "photographs/" not in config


@pytest.mark.parametrize(("processes", "workers", "accumulate"), [(1, 2, 2), (2, 0, 1), (2, 2, 1), (1, 0, 1)])
def test_broken_off_and_resumed_equals_unbroken(
    tiny_runs: Any,
    painting: list[str],
    forked: Callable[..., Any],
    small_encoder: Any,
    signal_in_step: Any,
    tmp_path: Path,
    processes: int,
    workers: int,
    accumulate: int,
) -> None:
    small_encoder(16).save_pretrained(tmp_path / "encoder")
    judged = [f"encoder={tmp_path / 'encoder'}", "loss.emotion=0.1", "loss.perceptual=0.2"]
    same = [*painting, *SHORT, *judged, f"tokenizer_stage.accumulate={accumulate}"]
    forked(lambda _rank: tiny_runs.train("whole", "tokenizer", *same), processes).ends(*[0] * processes)
    more = [*same, f"faces.workers={workers}"]
    with signal_in_step(PaintingTask, 4):
        forked(lambda _rank: tiny_runs.train("broken", "tokenizer", *more), processes).ends(*[143] * processes)
    forked(lambda _rank: tiny_runs.train("broken", "tokenizer", *more, "--resume", "latest"), processes).ends(*[0] * processes)
    assert tiny_runs.differing("whole", "broken", "tokenizer") == []


def test_the_discriminator_is_shown_photographs_and_all_that_is_painted(
    tiny_runs: Any, painting: list[str], before_each: Callable[..., None]
) -> None:
    shown: list[torch.Size] = []
    before_each(PatchDiscriminator, "forward", lambda _self, faces: shown.append(faces.shape))
    assert tiny_runs.train("run", "tokenizer", *painting, "tokenizer_stage.epochs=0.1", "loss.adversarial_start=0") == 0
    assert shown == [torch.Size([8, 3, 32, 32]), torch.Size([4 + 8, 3, 32, 32])]


OPEN = ["tokenizer_stage.schedule=constant", "tokenizer_stage.learning_rate=0.2"]


def test_the_end_of_a_run_at_a_constant_rate_is_decided_late(tiny_runs: Any, signal_in_step: Any) -> None:
    with signal_in_step(TokenizerTask, 6):
        assert tiny_runs.train("run", "tokenizer", *OPEN, "tokenizer_stage.epochs=100") == 143
    assert tiny_runs.train("run", "tokenizer", *OPEN, "tokenizer_stage.epochs=1.5", "--resume", "latest") == 0
    assert len(tiny_runs.figures("run", "tokenizer")) == 9
    # The folder knows what it was ended with: it is complete, and may be ended in no other way now.
    assert "epochs: 1.5" in (tiny_runs.folder / "run" / "tokenizer" / "config.yaml").read_text()


@pytest.mark.parametrize(
    ("schedule", "changed"), [("constant", "tokenizer_stage.weight_decay=0.5"), ("cosine", "tokenizer_stage.epochs=9")]
)
def test_other_settings_may_not_change_under_way(tiny_runs: Any, signal_in_step: Any, schedule: str, changed: str) -> None:
    same = f"tokenizer_stage.schedule={schedule}"
    with signal_in_step(TokenizerTask, 3):
        assert tiny_runs.train("run", "tokenizer", same) == 143
    with pytest.raises(UserError, match="the configuration differs"):
        tiny_runs.train("run", "tokenizer", same, changed, "--resume", "latest")


def test_a_slow_run_has_a_checkpoint_every_few_minutes(tiny_runs: Any, signal_in_step: Any) -> None:
    rare = ["tokenizer_stage.checkpoint_every=1000", "tokenizer_stage.keep_checkpoints=50"]
    assert tiny_runs.train("rare", "tokenizer", *rare) == 0
    assert tiny_runs.train("often", "tokenizer", *rare, "tokenizer_stage.checkpoint_minutes=1e-7") == 0
    steps = {name: len(checkpoint_steps(tiny_runs.folder / name / "tokenizer")) for name in ("rare", "often")}
    assert (steps["rare"], steps["often"] > 6) == (1, True)
    assert tiny_runs.differing("rare", "often", "tokenizer") == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["faces.colour128=null"], "faces.colour128=DATA"),
        (["faces.fer2013=null"], "faces.fer2013=ALIGNED"),
        (["faces.faces128=more"], "no faces.faces128"),
        (["faces.source=drawn"], "set faces.source=real"),
        (["loss.perceptual_net=lpips", "loss.perceptual=1"], "lpips"),
        (["tokenizer.painted_size=33"], "painted_size=33 must be size=16"),
        (["tokenizer_stage.batch_size=7"], "7 cannot be half grey and half colour"),
    ],
)
def test_what_cannot_be_painted_from_is_refused(tiny_runs: Any, painting: list[str], settings: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        tiny_runs.train("run", "tokenizer", *painting, *settings)
    assert not os.path.exists(tiny_runs.folder / "run" / "weights")


def test_a_painting_decoder_trained_further_keeps_the_tokens(tiny_runs: Any, painting: list[str]) -> None:
    assert tiny_runs.train("first", "tokenizer", *painting, *SHORT) == 0
    weights = tiny_runs.weights("first", "tokenizer").parent
    further = [f"tokenizer_stage.init={weights}", "tokenizer_stage.trainable=decoder"]
    assert tiny_runs.train("second", "tokenizer", *painting, *SHORT, *further) == 0
    old, new = (Tokenizer.from_pretrained(tiny_runs.weights(run, "tokenizer").parent) for run in ("first", "second"))
    assert old.encoding_sha256() == new.encoding_sha256()
    tokens = torch.zeros(1, 16, 2, dtype=torch.int64)
    assert not torch.equal(old.decode(tokens), new.decode(tokens))
