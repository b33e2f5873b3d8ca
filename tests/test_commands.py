"""Every command that the pages and the programs' help show is taken by its program, as written, up to its long work.

That is what comes after all that a program checks: networks that are loaded, faces that are read, a training. It is cut off
here; whatever stands before it is the program's own.
"""

from __future__ import annotations

import importlib
import itertools
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest
from PIL import Image

from configs.cli import UserError
from configs.explain import all_keys, dotted
from docs import commands, from_code

ROOT = from_code.ROOT
PAGES = [*from_code.pages(), *from_code.cards().values()]
MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for package in ("encoder", "vqvae", "generation", "eval")
    for path in sorted((ROOT / package).rglob("*.py"))
    if path.name != "__init__.py"
]
# Where the long work of the programs begins.
WORK = (
    "encoder.analyze._make_analyzer",
    "encoder.analysis.analyzer.FaceAnalyzer.from_pretrained",
    "encoder.attributes.labels.labelled_faces",
    "encoder.attributes.probe.FaceAttributes.from_pretrained",
    "encoder.data.load.load_faces",
    "encoder.data.shard_writer.write_shards",
    "encoder.detection.originals.find_originals",
    "encoder.detection.originals.load_faces",
    "encoder.experiments.ablation_runs.AblationRuns.make",
    "encoder.experiments.ladder_runs.Ladder.climb",
    "encoder.fitting.averaging.average",
    "encoder.fitting.fit.fit_encoder",
    "encoder.fitting.fit.load_faces",
    "encoder.fitting.self_training.load_faces",
    "eval.blind.faces.read_sides",
    "eval.blind.key.read_key",
    "eval.faces.generated.load_faces",
    "eval.faces.ratings.read_ratings",
    "eval.faces.real.load_faces",
    "encoder.import_deepface.published_encoder",
    "encoder.inference.emotion_encoder.EmotionEncoder.from_pretrained",
    "encoder.landmarks.classifier.load_classifier",
    "encoder.landmarks.fit.fit_landmarks",
    "encoder.people.gender.create_gender",
    "encoder.people.gender_fit.fit_gender",
    "encoder.prepare.load_faces",
    "eval.benchmarks.detection.create_detector",
    "eval.benchmarks.encoder._crops",
    "eval.benchmarks.gpu.measure",
    "eval.benchmarks.prior._table",
    "eval.benchmarks.reading.deepface_analyze",
    "eval.benchmarks.service.__main__.running",
    "eval.benchmarks.service.attacks.running",
    "eval.benchmarks.shards._write",
    "eval.benchmarks.startup._seconds",
    "eval.benchmarks.vq.contestants",
    "eval.experiments.training.load_splits",
    "generation.draw.FaceModel.from_pretrained",
    "generation.pipeline.FacePipeline.from_pretrained",
    "generation.service.http.serving.listen",
    "vqvae.stages.train_stages",
    "vqvae.tokenizer.Tokenizer.from_pretrained",
)
# What stands for something of the reader's own.
PLACEHOLDERS = {"$TASK": "3", "…": "pretrained/tokenizer"}
PICTURES = ("photo.jpg", "photo.png", "mine.jpg", *(f"{name}/a.png" for name in (
    "photos", "holiday", "archive/a", "people/a", "data/fer2013", "shards", "DATA", "ALIGNED", "PHOTOS", "PICTURES", "MY_FACES",
)))  # fmt: skip


Outcome = Callable[[str, list[str]], str]


class Reached(BaseException):
    """A program came to its long work."""


def reached(*_: object, **__: object) -> NoReturn:
    raise Reached


def make_household(folder: Path, program: str, words: list[str]) -> None:
    """What a command names is there, and the project's folders are as in a checkout."""
    for name in PICTURES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (64, 64)).save(folder / name)
    (folder / "interview.mp4").touch()
    (folder / "counts.csv").write_text("emotion,group,faces\nfear,white,2\n")
    for name in ("configs", "docs", "pretrained"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "out/augmentation/rows/a-s0/weights").mkdir(parents=True)
    (folder / "out/augmentation/rows/a-s0/weights/config.json").touch()
    for split in ("train", "valid"):
        (folder / "runs/colour/cache" / f"tokens-{split}").mkdir(parents=True)
    (folder / "out/augmentation/plan.json").write_text('{"generated": {}}')
    # Trained encoders, which must differ; of the generator's programs all of its weights.
    shipped = itertools.cycle(("encoder", "fast", "judge") if program.startswith("encoder.") else ("",))
    for option, value in itertools.pairwise(words):
        if option in ("--weights", "--average") and value != "deepface" and not os.path.lexists(folder / value):
            (folder / value).parent.mkdir(parents=True, exist_ok=True)
            (folder / value).symlink_to(ROOT / "pretrained" / next(shipped))


@pytest.fixture
def outcome(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Outcome:
    """``outcome(program, words)``: what is wrong with a command; nothing where it comes to its work, or ends well without."""
    # A module that is imported first while names are cut off would keep what it took from others, in all later tests.
    for module in MODULES:
        importlib.import_module(module)
    for name in WORK:
        monkeypatch.setattr(name, reached)
    monkeypatch.setattr("encoder.evaluation.ladder_table.read_table", lambda _: None)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)

    number = itertools.count()

    def run(program: str, words: list[str]) -> str:
        if program not in from_code.programs():
            return "no such program"
        for old, new in PLACEHOLDERS.items():
            words = [word.replace(old, new) for word in words]
        here = tmp_path / str(next(number))
        make_household(here, program, words)
        main = importlib.import_module(from_code.programs()[program]).main
        experiment = getattr(main, "__self__", None)
        with monkeypatch.context() as patch:
            patch.chdir(here)
            if experiment is not None:
                patch.setattr(experiment, "load", reached)
            try:
                code = main(words)
            except Reached:
                return ""
            except (UserError, SystemExit) as error:
                return str(error)
        return "" if code == 0 else f"exit code {code}"

    return run


def documented() -> dict[str, dict[tuple[str, ...], commands.Command]]:
    """The commands of each program, each once. In the text, a program without a word after it is a mere name."""
    found: dict[str, dict[tuple[str, ...], commands.Command]] = {}
    for each in commands.shown(PAGES):
        if each.program and (each.whole or each.arguments):
            found.setdefault(each.program, {}).setdefault(tuple(each.arguments), each)
    return found


def test_every_command_comes_to_its_work(outcome: Outcome, capsys: pytest.CaptureFixture[str]) -> None:
    known = documented()
    assert known.keys() >= from_code.programs().keys() - {"eval.benchmarks.storage", "mimique"}
    assert sum(map(len, known.values())) > 200
    wrong = []
    for program, each in known.items():
        for words, command in each.items():
            problem = outcome(program, list(words))
            said = capsys.readouterr().err.strip()
            wrong += [f"{command}\n    {problem} {said}"] if problem else []
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("python -m encoder.analyze photo.jpg --action-units py-feat", "add --out FILE"),
        ("python -m vqvae.train faces.fer2013=DATA", "fer2013 is not read while source=drawn"),
        ("python -m encoder.train train.batch=64", "did you mean batch_size"),
        ("python -m generation.sample --emotion anger --avoidance 0.5", "does nothing without --not"),
        ("python -m encoder.drawn --out docs/drawn.png", "is there already"),
        ("python -m encoder.analyze absent/*.jpg", "no file matches"),
        ("python -m generation.simple", "no such program"),
    ],
)
def test_a_command_that_would_fail_is_found(outcome: Outcome, line: str, problem: str) -> None:
    (command,) = commands.on_page(f"```\n{line}\n```", "page")
    assert problem in outcome(command.program, command.arguments)


QUICK = ("generation.sample", "generation.edit", "encoder.analyze")
README = [
    each for each in commands.on_page((ROOT / "README.md").read_text(encoding="utf-8"), "README.md") if each.program in QUICK
]


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("command", README, ids=lambda command: " ".join(command.words[2:]))
def test_what_the_readme_shows_runs_as_written(command: commands.Command, tmp_path: Path) -> None:
    data = pytest.importorskip("skimage.data", reason="the photograph comes with the extra dev")
    Image.fromarray(data.astronaut()).save(tmp_path / "photo.jpg")
    words = [sys.executable, *command.words[1:]]
    done = subprocess.run(words, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    assert len(list(tmp_path.rglob("*.*"))) > 1


def test_every_setting_that_pages_name_exists() -> None:
    keys = {dotted(key) for model in from_code.settings().values() for key in all_keys(model)}
    sections = {key.partition(".")[0] for key in keys if "." in key}
    wrong, seen = [], 0
    for page in PAGES:
        text = commands.prose(page.read_text(encoding="utf-8"))
        for name in re.findall(r"`((?:\w+\.)+\w+)(?:=[^`]*)?`", text):
            if name.partition(".")[0] in sections and name.rpartition(".")[2] not in ("csv", "json", "parquet", "partial"):
                seen += 1
                wrong += [] if name in keys else [f"{page.relative_to(ROOT)}: {name}"]
    assert wrong == []
    assert seen > 20
