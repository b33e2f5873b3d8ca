"""``import mimique`` and ``mimique WORD``: light at start, every name and program there, extras named where they are missing."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import mimique
from configs import cli
from configs.cli import UserError
from mimique import __main__ as door

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def _own_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "_called", {})
    monkeypatch.setattr(sys, "argv", ["mimique"])


def test_importing_it_imports_nothing_of_weight() -> None:
    code = "import sys, mimique; dir(mimique); print([m for m in ('torch', 'numpy', 'pydantic', 'encoder') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_name_is_there_and_another_is_refused_with_those_that_are() -> None:
    assert set(mimique.__all__) <= set(dir(mimique))
    for name in mimique.__all__:
        assert getattr(mimique, name) is not None
    assert mimique.FacePipeline is import_module("generation.pipeline").FacePipeline
    with pytest.raises(AttributeError, match=r"no attribute 'FacePipe'; it has .*FacePipeline"):
        mimique.FacePipe  # noqa: B018


@pytest.mark.parametrize("word", door.PROGRAMS)
def test_every_word_is_a_program_whose_help_is_written_for_it(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    program = import_module(door.PROGRAMS[word].module)
    assert callable(program.cli)
    with pytest.raises(SystemExit) as end:
        door.main([word, "--help"])
    assert end.value.code == 0
    told = capsys.readouterr().out
    assert told.startswith(f"usage: mimique {word} ")
    assert f"\n  mimique {word} " in told
    for called in door.PROGRAMS[word].called:
        assert f"{called} " not in told.replace("-m mimique", "")


def test_help_in_other_words_stays_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    from generation import sample

    with pytest.raises(SystemExit):
        sample.main(["--help"])
    assert capsys.readouterr().out.startswith("usage: python -m generation.sample ")
    cli.call_programs({"python -m encoder.train": "mimique train-encoder"})
    assert cli.command_parser("x", None, "python -m encoder.train_gender").epilog == "python -m encoder.train_gender"


def test_a_programs_refusal_and_exit_code_are_handed_on(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="unknown emotion 'fera'"):
        door.main(["sample", "--emotion", "fera"])
    command = [sys.executable, "-m", "mimique", "read", str(tmp_path / "absent.jpg")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "absent.jpg: no such file" in done.stderr


def test_a_word_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        door.main(["sampel"])
    assert end.value.code == 2
    assert "'sample'" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        door.main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith(f"mimique {mimique.__version__}\n")
