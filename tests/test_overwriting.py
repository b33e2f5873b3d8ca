"""One rule for all programs: what is there already is replaced only with ``--overwrite``."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from configs.cli import UserError
from docs import from_code
from encoder import drawn

# For each program with the option, what to type and the file that it would replace, in the current folder.
FILES = {
    "encoder.analyze": ("photo.png --out faces.csv", "faces.csv"),
    "encoder.attributes": ("--data DATA --out probe", "probe/config.json"),
    "encoder.calibrate": ("--data DATA --out new", "new/config.json"),
    "encoder.drawn": ("--out faces.png", "faces.png"),
    "encoder.evaluate": ("--data drawn --out found", "found/evaluation.json"),
    "encoder.evaluate_gender": ("--data DATA --out found", "found/gender.json"),
    "encoder.export": ("--out e.onnx", "e.onnx"),
    "encoder.import_deepface": ("--out new", "new/config.json"),
    "encoder.prepare": ("DATA --json facts.json", "facts.json"),
    "eval.editing": ("--data DATA --out found", "found/editing.json"),
    "eval.intensity": ("--out found", "found/intensity.json"),
    "eval.pairs": ("make A B --out found", "found/key.json"),
    "eval.ratings": ("r.csv --set DATA --out found", "found/ratings.json"),
    "eval.reconstruction": ("--data drawn --out found", "found/reconstruction.json"),
    "eval.report": ("--data DATA --out found", "found/report.html"),
    "eval.samples": ("--out found", "found/samples.json"),
    "eval.shortcut": ("--data DATA --rows found", "found/shortcut.json"),
    "eval.benchmarks.encoder": ("--out b.json", "b.json"),
    "eval.benchmarks.gpu": ("--out b.json", "b.json"),
    "eval.benchmarks.prior": ("--out b.json", "b.json"),
    "eval.benchmarks.reading": ("--out b.json", "b.json"),
    "eval.benchmarks.service": ("--out b.json", "b.json"),
    "eval.benchmarks.service.attacks": ("--out b.json", "b.json"),
    "eval.benchmarks.shards": ("--out b.json", "b.json"),
    "eval.benchmarks.vq": ("--out b.json", "b.json"),
    "vqvae.critics": ("--photographs DATA --out found", "found/config.json"),
    "vqvae.pack": ("RUN --out packed", "packed/train.safetensors"),
    "vqvae.tell": ("PACKED --out told", "told/train.safetensors"),
    "generation.curate": ("--per-emotion 1 --out chosen.safetensors", "chosen.safetensors"),
    "generation.sample": ("--emotion fear --out faces", "faces/manifest.json"),
}
MORE = [
    ("encoder.attributes", "--data DATA --count train --out found", "found/attributes.json"),
    ("encoder.drawn", "", "drawn.png"),
    ("encoder.drawn", "--per-emotion 1 --out faces", "faces/faces.csv"),
    ("encoder.evaluate", "--data drawn --report page", "page/report.html"),
    ("encoder.evaluate", "--data drawn", "out/evaluation-encoder-test/evaluation.json"),
    ("eval.pairs", "make A B --out found", "found/raters/pairs.html"),
    ("eval.pairs", "score pairs r.csv --out found", "found/score.json"),
    ("eval.samples", "--sheet faces.png", "faces.png"),
    ("generation.sample", "--strip joy:fear --out faces", "faces/manifest.json"),
]
# The same command goes on where it was stopped, and refuses what is not its own; encoder.shard refuses a folder with shards.
GO_ON = {
    "encoder.ablation", "encoder.ladder", "encoder.train", "encoder.train_gender", "vqvae.train", "generation.dataset",
    "generation.edit", "eval.ablation", "eval.augmentation", "eval.cas", "eval.knobs", "eval.people", "eval.realism",
    "eval.sweep", "encoder.shard",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "DATA").mkdir()
    drawn.main(["--count", "1", "--out", "photo.png"])


@pytest.mark.parametrize(("program", "words", "file"), [*((name, *how) for name, how in FILES.items()), *MORE])
def test_what_is_there_is_not_replaced_unasked(program: str, words: str, file: str) -> None:
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    Path(file).write_text("mine")
    before = sorted(Path().rglob("*"))
    with pytest.raises(UserError, match=f"{file}: is there already; choose another --[a-z]+, or replace it with --overwrite"):
        importlib.import_module(from_code.programs()[program]).main(words.split())
    assert Path(file).read_text() == "mine"
    assert sorted(Path().rglob("*")) == before


def test_the_rule_holds_for_all_programs_that_write() -> None:
    options = {name: set(from_code.parser_of(name)._option_string_actions) for name in from_code.programs()}
    assert {name for name, known in options.items() if "--overwrite" in known} == FILES.keys()
    writing = {name for name, known in options.items() if known & {"--out", "--report", "--sheet"}}
    assert writing - FILES.keys() == GO_ON


def test_asked_to_it_is_replaced(capsys: pytest.CaptureFixture[str]) -> None:
    Path("faces.png").write_text("mine")
    assert drawn.main(["--out", "faces.png", "--count", "1", "--overwrite"]) == 0
    assert Path("faces.png").read_bytes() == Path("photo.png").read_bytes()
