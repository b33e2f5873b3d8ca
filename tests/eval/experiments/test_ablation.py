"""The ablation: one schedule for all rows, a rerun that goes on, and a row that fails alone."""

from __future__ import annotations

import csv
import json
from argparse import Namespace
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import vqvae.stages
from configs.cli import UserError
from configs.loader import load_config
from eval import ablation
from eval.experiments import ablation as experiment
from eval.experiments.ablation import AblationConfig, to_markdown
from eval.faces.real import load_real
from vqvae.config import VqvaeConfig
from vqvae.tokenizer_stage import TokenizerTask

BASE = """
tokenizer: {size: 16, widths: [8, 16], codebook_size: 8, code_dim: 4, groups: 2}
tokenizer_stage: {epochs: 3, batch_size: 8}
loss: {perceptual: 0.1, emotion: 0.1, adversarial: 0}
faces: {source: drawn, drawn_count: 64}
device: cpu
precision: "no"
"""
ROWS = """
base: {base}
schedule: [tokenizer_stage.learning_rate=0.001]
rows:
  default: []
  bad-size: [tokenizer.size=18]
  fsq: [tokenizer.quantizer=fsq, "tokenizer.levels=[3, 3]", tokenizer.codebook_size=9, tokenizer.code_dim=2]
"""


@pytest.fixture
def options(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr(experiment, "load_real", partial(load_real, drawn=40))
    (tmp_path / "base.yaml").write_text(BASE)
    (tmp_path / "rows.yaml").write_text(ROWS.format(base=tmp_path / "base.yaml"))
    judges = ["--encoder", str(weights / "encoder"), "--judge", str(weights / "judge")]
    out = ["--out", str(tmp_path / "out"), "--config", str(tmp_path / "rows.yaml")]
    return ["--data", "drawn", f"encoder={weights / 'encoder'}", *judges, *out]


def test_rows_are_trained_once_and_a_failing_one_stops_no_other(
    options: list[str], tmp_path: Path, before_each: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    trained: list[str] = []
    before_each(vqvae.stages, "train_stages", lambda _config, how, go_on: trained.append(how.out.parent.name))
    assert ablation.main(options) == 1
    assert trained == ["default", "bad-size", "fsq"]
    assert "bad-size, seed 0 failed: tokenizer.size: 18 cannot be halved" in capsys.readouterr().err
    report = json.loads((tmp_path / "out" / "ablation.json").read_text())
    assert [row["row"] for row in report["rows"]] == ["default", "bad-size", "fsq"]
    assert "Traceback" in (tmp_path / "out" / "bad-size" / "seed-0" / "failure.txt").read_text()
    for row in report["rows"][::2]:
        assert row["count"] == 40
        assert row["images_seen"] == 3 * 64
        assert row["positions"] == 16
        assert row["images_per_second"] > 0
        assert 0 < row["codebook_usage"] <= 1
        assert row["frechet"]["second_judge"] > 0
        assert 0 <= row["emotion_kept"]["second_judge"]["share"] <= 1
    rows = list(csv.DictReader((tmp_path / "out" / "ablation.csv").open()))
    assert [bool(row["failed"]) for row in rows] == [False, True, False]
    assert (tmp_path / "out" / "fsq" / "seed-0" / "reconstructions.png").is_file()

    # Only what is missing is done again, and the table is of what this command names.
    trained.clear()
    assert ablation.main([*options, "--rows", "fsq,default"]) == 0
    assert trained == []
    assert ablation.main([*options, "--rows", "default", "--split", "test"]) == 0
    assert trained == []
    assert (tmp_path / "out" / "default" / "seed-0" / "figures-test.json").is_file()
    assert ablation.main([*options, "--rows", "default", "--seeds", "0,1"]) == 0
    assert trained == ["default"]
    assert "±" in (tmp_path / "out" / "ablation.md").read_text()

    # Rows of other settings must not stand in one table.
    with pytest.raises(UserError, match="made with other settings"):
        ablation.main([*options, "--rows", "default", "tokenizer_stage.epochs=1"])
    (tmp_path / "out" / "default" / "seed-0" / "figures-valid.json").unlink()
    assert ablation.main([*options, "--rows", "default", "tokenizer_stage.epochs=1"]) == 1
    assert "was trained with other settings" in (tmp_path / "out" / "ablation.md").read_text()


def test_an_interrupted_row_says_how_this_program_goes_on(
    options: list[str], signal_in_step: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with signal_in_step(TokenizerTask, 0):
        assert ablation.main([*options, "--rows", "default"]) == 143
    said = capsys.readouterr().err
    assert "stopped at step 1; run the same command again" in said
    assert "--resume" not in said
    assert ablation.main([*options, "--rows", "default"]) == 0


def test_minutes_reach_the_training(options: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Namespace] = []
    monkeypatch.setattr(vqvae.stages, "train_stages", lambda _config, how, go_on: seen.append(how) or 130)
    assert ablation.main([*options, "--minutes-per-row", "2.5"]) == 130
    assert [how.max_minutes for how in seen] == [2.5]


def test_the_rows_that_ship_change_one_thing_each() -> None:
    config = load_config(AblationConfig, "configs/vqvae/ablation.yaml")
    plain = load_config(VqvaeConfig, config.base, config.schedule).model_dump()
    grids, quantizers = set(), set()
    for name, settings in config.rows.items():
        row = load_config(VqvaeConfig, config.base, [*config.schedule, *settings])
        changed = {key for key, value in row.model_dump().items() if value != plain[key]}
        assert changed == ({"loss"} if any("loss." in s for s in settings) else {"tokenizer"} if settings else set()), name
        grids.add(row.tokenizer.grid**2)
        quantizers.add(row.tokenizer.quantizer)
        assert (row.tokenizer.codebook_size, row.tokenizer_stage.init) == (512, None)
    assert grids == {64, 144, 256}
    assert quantizers == {"ema", "plain", "simvq", "fsq"}


def test_a_row_without_results_says_why() -> None:
    rows = [{"row": "fsq", "seed": 0, "failed": "loss is not finite | step 20"}]
    text = to_markdown({"data": "drawn", "split": "valid"}, rows)
    assert "fsq (seed 0 failed: loss is not finite / step 20)" in text
