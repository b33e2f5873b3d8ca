from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from configs.cli import UserError, run

ROOT = Path(__file__).resolve().parent.parent.parent


def finish(main, argv=()) -> int:
    with pytest.raises(SystemExit) as exit_info:
        run(main, argv)
    return exit_info.value.code


def test_exit_code_is_what_main_returns() -> None:
    assert finish(lambda argv: 3) == 3
    assert finish(lambda argv: None) == 0


def test_main_gets_the_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    finish(lambda argv: seen.append(list(argv)), ["a=1"])
    monkeypatch.setattr(sys, "argv", ["program", "b=2"])
    finish(lambda argv: seen.append(list(argv)), None)
    assert seen == [["a=1"], ["b=2"]]


def test_user_error_is_one_line_and_no_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    def main(argv):
        raise UserError("x.yaml: lr: wrong\n  on two lines")

    assert finish(main) == 2
    assert capsys.readouterr().err == "error: x.yaml: lr: wrong on two lines\n"


def test_ctrl_c_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def main(argv):
        raise KeyboardInterrupt

    assert finish(main) == 130
    assert capsys.readouterr().err.strip() == "stopped by Ctrl-C"


def test_a_defect_keeps_its_traceback() -> None:
    def main(argv):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(main, [])


def test_a_reader_that_goes_away_causes_no_noise() -> None:
    program = "from configs.cli import run\nrun(lambda argv: [print('x' * 1000) for _ in range(2000)] and 0)"
    process = subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    errors = process.stderr.read()
    process.stderr.close()
    assert process.wait() == 141
    assert errors == ""
