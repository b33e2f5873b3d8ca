"""The ladder: every rung can run, what cannot is named, finished rungs are kept, one table in four forms."""

from __future__ import annotations

import csv
import html
import io
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from configs.cli import UserError
from configs.loader import load_config
from encoder import evaluate, ladder, train
from encoder.config import EncoderConfig, ModelConfig
from encoder.evaluation.ladder_table import as_csv, as_html, as_markdown, read_table
from encoder.experiments import ladder_runs
from encoder.experiments.ladder_rungs import RUNGS, SCHEDULES, Rung, chosen_rungs
from encoder.experiments.ladder_runs import _program, _RungError
from encoder.experiments.model_cost import multiply_adds
from encoder.models.create import check_input, create_model, registered_model

TRAINED = [rung for rung in RUNGS if rung.config]
FAST = ["landmarks-linear-svc", "landmarks-knn"]


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("rung", TRAINED, ids=lambda rung: rung.name)
def test_every_rung_has_settings_that_go_together(rung: Rung, schedule: str) -> None:
    config = load_config(EncoderConfig, rung.config, rung.settings(schedule, None))
    if rung.on_landmarks:
        assert config.model.name == rung.name
        return
    check_input(config.model, config.preprocessing)
    assert (config.train.max_minutes is None) == (schedule == "full")
    if config.train.init == "imagenet":
        assert registered_model(config.model.name).load_imagenet is not None
        assert config.preprocessing.normalisation == "imagenet"


def test_the_ladder_holds_what_earlier_projects_did() -> None:
    configs = [load_config(EncoderConfig, rung.config) for rung in TRAINED]
    names = {config.model.name for config in configs}
    assert {"deepface", "conv4-100", "conv4-bn-128", "conv4-1024", "vgg16", "resnet50", "resnet"} <= names
    assert len([name for name in names if name.startswith("landmarks-")]) == 7
    for net in ("vgg16", "resnet50"):
        ways = {(config.train.init, config.train.trainable) for config in configs if config.model.name == net}
        assert ways == {(None, "all"), ("imagenet", "head"), ("imagenet", "all"), ("imagenet", "last4")}


def test_the_longest_training_can_be_capped() -> None:
    deepface, forest = chosen_rungs(["deepface", "landmarks-forest"])
    assert "train.max_minutes=2" in deepface.settings("short", 2)
    assert "train.max_minutes=5" in deepface.settings("short", 90)
    assert "train.max_minutes=90" in deepface.settings("full", 90)
    assert deepface.settings("full", None) == []
    assert not any("minutes" in setting for setting in forest.settings("short", 2))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "deepfake"], "no such rung; did you mean deepface?"),
        (["--max-minutes", "0"], "give more than 0"),
        (["train.seed"], "is not a setting"),
        (["--data", "nowhere/at/all"], "no such file or folder"),
    ],
)
def test_bad_arguments_are_one_line(arguments: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        ladder.main(["--data", "drawn", "--out", str(tmp_path), *arguments])
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The two programs run in this process; the names of those that were called. DeepFace's weights cannot be had."""
    called: list[str] = []

    def run(module: str, arguments: Sequence[str], log: Path) -> None:
        called.append(module)
        try:
            if module == "encoder.import_deepface":
                raise UserError("its weights cannot be had (offline)")
            {"encoder.train": train, "encoder.evaluate": evaluate}[module].main([str(each) for each in arguments])
        except UserError as error:
            raise _RungError(str(error), 2) from None

    monkeypatch.setattr(ladder_runs, "_program", run)
    return called


def climb(out: Path, only: Sequence[str], *more: str) -> int:
    return ladder.main(["--data", "drawn", "--out", str(out), "--device", "cpu", "--only", *only, "data.drawn_count=210", *more])


def test_rungs_are_trained_judged_and_put_into_one_table(
    programs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("sklearn")
    assert climb(tmp_path, ["deepface-published", *FAST]) == 0
    assert programs == ["encoder.import_deepface", *["encoder.train", "encoder.evaluate"] * 2]
    rows, command = read_table(tmp_path / "short" / "ladder.json")
    by_name = {row["name"]: row for row in rows}
    assert list(by_name) == [rung.name for rung in RUNGS]
    assert command.startswith("python -m encoder.ladder --data drawn")
    svc = by_name["landmarks-linear-svc"]
    assert (svc["ran"], svc["schedule"], svc["seed"], svc["faces"], svc["split"]) == (True, "short", 0, 3500, "test")
    assert svc["accuracy_interval"][0] < svc["accuracy"] <= svc["accuracy_interval"][1]
    assert svc["faces_per_second"] > 0
    assert "data.drawn_count=210" in svc["settings"]
    assert by_name["deepface-published"]["reason"] == "its weights cannot be had (offline)"
    assert by_name["vgg16-frozen"]["reason"] == "not asked for yet"
    shown = capsys.readouterr().out
    assert "its weights cannot be had (offline)" in shown
    assert "68 landmarks, k-NN" in shown
    # A second call keeps what is finished and tries the rest again.
    programs.clear()
    assert climb(tmp_path, ["deepface-published", *FAST]) == 0
    assert programs == ["encoder.import_deepface"]
    with pytest.raises(UserError, match="run on other data or with other settings"):
        climb(tmp_path, FAST, "train.seed=1")
    assert climb(tmp_path, ["deepface-published"], "train.seed=1") == 0
    assert read_table(tmp_path / "short" / "ladder.json")[0] == rows


def test_an_interrupted_rung_is_continued_with_its_own_settings(
    programs: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("sklearn")
    whole = ladder_runs._program

    def stopped(module: str, arguments: Sequence[str], log: Path) -> None:
        if module == "encoder.evaluate":
            raise _RungError("stopped", 130)
        whole(module, arguments, log)

    with monkeypatch.context() as patch:
        patch.setattr(ladder_runs, "_program", stopped)
        assert climb(tmp_path, FAST) == 130
    assert programs == ["encoder.train"]
    with pytest.raises(UserError, match="with other settings"):
        climb(tmp_path, FAST[:1], "train.seed=1")
    programs.clear()
    assert climb(tmp_path, FAST[:1]) == 0
    assert programs == ["encoder.evaluate"]


def test_a_program_that_fails_leaves_its_one_line(tmp_path: Path) -> None:
    with pytest.raises(_RungError, match=r"^nowhere: no such file"):
        _program("encoder.train", ["--config", "nowhere"], tmp_path / "log.txt")
    with pytest.raises(_RungError, match=r"ended with code 1; see .*log\.txt"):
        _program("encoder.no_such_program", [], tmp_path / "log.txt")
    assert (tmp_path / "log.txt").read_text().count("$ ") == 2


def test_ctrl_c_is_handed_on_once_and_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "patient.py").write_text(
        "import pathlib, signal, sys, time\n"
        "def stop(*_):\n"
        "    time.sleep(0.3)\n"
        "    pathlib.Path('saved').write_text('checkpoint')\n"
        "    sys.exit(130)\n"
        "signal.signal(signal.SIGINT, stop)\n"
        "pathlib.Path('ready').touch()\n"
        "time.sleep(60)\n"
    )
    monkeypatch.chdir(tmp_path)

    def interrupt() -> None:
        while not Path("ready").exists():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(_RungError, match="run the same command again") as caught:
        _program("patient", [], tmp_path / "log.txt")
    thread.join()
    assert caught.value.code == 130
    assert (tmp_path / "saved").read_text() == "checkpoint"


def row(**more: Any) -> dict[str, Any]:
    figures = {"accuracy": 0.5, "accuracy_interval": [0.48, 0.52], "macro_recall": 0.4, "parameters": 1_485_831}
    about = {"name": "deepface", "title": "a|b <script>", "ran": True, "schedule": "short", "faces": 3589, "threads": 4}
    return {**about, **figures, "data": "fer2013", "split": "test", "device": "cpu", **more}


def test_the_table_escapes_names_and_says_what_did_not_run() -> None:
    rows = [row(), {"name": "vgg16-frozen", "title": "VGG16", "ran": False, "reason": "no <network> | none"}]
    page, text = as_html(rows, "python & co"), as_markdown(rows, "python & co")
    assert "<script>" not in page
    assert html.escape("no <network> | none") in page
    assert "1.49 M" in text
    assert "0.500 (0.480–0.520)" in text
    assert r"a\|b" in text
    assert r"`vgg16-frozen`): no <network> \| none" in text
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len({line.replace(r"\|", "").count("|") for line in table}) == 1
    read = list(csv.DictReader(io.StringIO(as_csv(rows))))
    assert (read[0]["accuracy_low"], read[0]["parameters"], read[1]["reason"]) == ("0.48", "1485831", "no <network> | none")


def test_what_was_trained_alike_stands_apart_from_shipped_weights_and_each_reason_stands_once() -> None:
    lost = "the ImageNet weights of vgg16 cannot be had (<urlopen error>); fetch them"
    rows = [
        row(title="first", accuracy=0.45),
        row(title="second", accuracy=0.55),
        row(title="shipped", accuracy=0.9, schedule="shipped weights"),
        {"name": "a", "title": "VGG16, frozen", "ran": False, "reason": lost},
        {"name": "b", "title": "VGG16, tuned", "ran": False, "reason": lost},
        {"name": "c", "title": "on landmarks", "ran": False, "reason": "the dlib detector needs the package dlib; install it"},
    ]
    page, text = as_html(rows, "made so"), as_markdown(rows, "made so")
    assert "“second” is right most often (0.550), before “first” (0.450)." in page
    alike, apart, recalls = page.split("<caption>")[1:]
    assert ("first" in alike, "shipped" in alike) == (True, False)
    assert ("first" in apart, "shipped" in apart) == (False, True)
    assert "shipped" in recalls
    assert "urlopen" not in page
    assert "VGG16, frozen; VGG16, tuned (needs weights that could not be downloaded)" in page
    assert "on landmarks (needs the package dlib, which was not installed)" in page
    # Who runs it must learn how to mend it, once.
    assert text.count("fetch them") == 1
    assert "VGG16, frozen (`a`), VGG16, tuned (`b`): the ImageNet weights" in text
    assert "not asked" not in as_html([row()], "")
    assert "No system of the ladder has run yet." in as_html(rows[3:], "")


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"kind": "ladder", "rows": [1]}', "not json"])
def test_another_file_is_no_table(content: str, tmp_path: Path) -> None:
    (tmp_path / "ladder.json").write_text(content)
    with pytest.raises(UserError, match=r"ladder\.json"):
        read_table(tmp_path / "ladder.json")


def test_the_table_joins_the_report(tmp_path: Path, small_encoder: Callable[..., Any]) -> None:
    small_encoder(16, heads=("fer2013",)).save_pretrained(tmp_path / "weights")
    (tmp_path / "ladder.json").write_text(json.dumps({"kind": "ladder", "command": "made so", "rows": [row()]}))
    arguments = ["--data", "drawn", "--weights", str(tmp_path / "weights"), "--ladder", str(tmp_path / "ladder.json")]
    with pytest.raises(UserError, match="--ladder: its table goes into the report"):
        evaluate.main(arguments)
    assert evaluate.main([*arguments, "--report", str(tmp_path / "report")]) == 0
    page = (tmp_path / "report" / "report.html").read_text()
    assert '<section id="ladder">' in page
    assert "a|b &lt;script&gt;" in page
    assert json.loads((tmp_path / "report" / "report.json").read_text())["ladder"]["rows"][0]["faces"] == 3589


def test_multiply_adds_are_those_of_the_layers() -> None:
    net = create_model(ModelConfig(name="deepface", heads=("fer2013",))).eval()
    convolutions = 44**2 * 64 * 25 + (18**2 + 16**2) * 64 * 64 * 9 + 5**2 * 128 * 64 * 9 + 3**2 * 128 * 128 * 9
    assert multiply_adds(net, 48) == convolutions + 128 * 1024 + 1024 * 1024 + 1024 * 7
