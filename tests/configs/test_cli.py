from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from configs.cli import UserError, command_parser, run

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


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (UserError("x.yaml: lr: wrong\n  on two lines"), 2, "error: x.yaml: lr: wrong on two lines"),
        (KeyboardInterrupt(), 130, "stopped by Ctrl-C"),
        (KeyboardInterrupt("the rows are in faces.csv"), 130, "stopped by Ctrl-C: the rows are in faces.csv"),
    ],
)
def test_an_end_that_is_no_defect_is_one_line(
    capsys: pytest.CaptureFixture[str], error: BaseException, code: int, line: str
) -> None:
    def main(argv):
        raise error

    assert finish(main) == code
    assert capsys.readouterr().err.strip() == line


def signalled(program: str, number: int) -> tuple[int, str]:
    """Exit code and stderr of a program that is sent a signal once it has printed a line."""
    # Under nohup the tests themselves ignore SIGHUP, and would hand that on.
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    return process.returncode, errors


WAITING = """
import os, signal, subprocess, sys, time
from configs.cli import run
def main(argv):
    try:
        print("ready", flush=True)
        time.sleep(60)
    finally:
        print("cleaned", file=sys.stderr)
"""


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_that_ends_the_program_is_one_line_after_cleaning_up(name: str, code: int) -> None:
    ended, errors = signalled(f"{WAITING}\nrun(main, [])", getattr(signal, name))
    assert ended == code
    assert errors.split() == ["cleaned", "stopped", "by", name]


def test_a_signal_whose_exception_was_swallowed_still_ends_the_program() -> None:
    swallowing = """
def main(argv):
    class Thing:
        def __del__(self):
            print("ready", flush=True)
            time.sleep(1)
    Thing()
    print("went on", file=sys.stderr)
    time.sleep(60)
"""
    ended, errors = signalled(f"{WAITING}\n{swallowing}\nrun(main, [])", signal.SIGTERM)
    assert ended == 143
    assert errors.startswith("went on\n")
    assert errors.endswith("stopped by SIGTERM\n")
    assert "_Ended" not in errors


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGINT", 130)])
def test_a_signal_amid_what_is_not_to_be_disturbed_ends_the_program_after_it(name: str, code: int) -> None:
    importing = """
from configs.undisturbed import undisturbed
def main(argv):
    with undisturbed():
        try:
            print("ready", flush=True)
            time.sleep(0.5)
        except BaseException:  # as code in other languages does
            raise ImportError("initialization failed") from None
        print("imported", file=sys.stderr)
    time.sleep(60)
"""
    ended, errors = signalled(f"{WAITING}\n{importing}\nrun(main, [])", getattr(signal, name))
    assert ended == code
    assert errors.split() == ["imported", "stopped", "by", "Ctrl-C" if name == "SIGINT" else name]


def test_ctrl_c_while_a_command_takes_its_leave_is_one_line() -> None:
    leaving = """
from configs.cli import leave_taking
def farewell():
    print("ready", flush=True)
    time.sleep(60)
def main(argv):
    leave_taking(farewell)
"""
    ended, errors = signalled(f"{WAITING}\n{leaving}\nrun(main, [])", signal.SIGINT)
    assert ended == 130
    assert errors.split() == ["stopped", "by", "Ctrl-C"]


def test_a_second_signal_ends_at_once() -> None:
    tidying = WAITING.replace('print("cleaned", file=sys.stderr)', "os.kill(os.getpid(), signal.SIGTERM)\n        time.sleep(60)")
    ended, _ = signalled(f"{tidying}\nrun(main, [])", signal.SIGTERM)
    assert ended == -signal.SIGTERM


def test_a_signal_that_was_to_be_ignored_still_is() -> None:
    begun = "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
    ended, errors = signalled(f"{WAITING.replace('60', '0.3')}\n{begun}run(main, [])", signal.SIGHUP)
    assert ended == 0
    assert errors.split() == ["cleaned"]


def test_a_child_that_is_ended_says_nothing_and_ends_nobody_else() -> None:
    program = """
import os, signal, sys, time
from configs.cli import run
def main(argv):
    child = os.fork()
    if child == 0:
        time.sleep(60)
    time.sleep(0.2)
    os.kill(child, signal.SIGTERM)
    return 5 if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM else 6
run(main, [])
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 5
    assert done.stderr == ""


def test_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    assert finish(lambda argv: int(signal.getsignal(signal.SIGTERM) == before)) == 0
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_defect_keeps_its_traceback() -> None:
    def main(argv):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(main, [])


def test_a_lost_connection_to_other_launched_processes_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def main(argv):
        raise RuntimeError("[third_party/gloo/gloo/transport/tcp/pair.cc:545] Read error [127.0.0.1]:1: Connection reset by peer")

    monkeypatch.setattr("configs.cli.LAUNCHER", 1)
    assert finish(main) == 2
    assert capsys.readouterr().err.startswith("error: another of the launched processes has ended;")
    monkeypatch.setattr("configs.cli.LAUNCHER", None)
    with pytest.raises(RuntimeError, match="gloo"):
        run(main, [])


def test_a_reader_that_goes_away_causes_no_noise() -> None:
    program = "from configs.cli import run\nrun(lambda argv: [print('x' * 1000) for _ in range(2000)] and 0)"
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=-1, stderr=-1, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141


def outcome(program: str, shell: str) -> tuple[int, str]:
    """Exit code of a program of one line, and what it says on stderr, where ``shell`` says where both outputs go."""
    line, python = f'"$0" -c "$1" {shell}; exit "${{PIPESTATUS[0]}}"', f"from configs.cli import *\n{program}"
    words = ["bash", "-c", line, sys.executable, python]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stderr


SAYS = "run(lambda argv: print('x'))"
FAILS = "def fail(argv): raise UserError('no')\nrun(fail)"
HELPS = "run(lambda argv: command_parser('p', 'd', 'e').parse_args(['--help']) and 0)"
VERSION = "run(lambda argv: command_parser('p', 'd', 'e').parse_args(['--version']) and 0)"


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    ("program", "shell", "code"),
    [
        (SAYS, "| true", (0, 141)),
        (HELPS, "| true", (0, 141)),
        (SAYS, "2>&1 | true", (0, 141)),
        (FAILS, "2>&1 | true", (2,)),
        (SAYS, ">&-", (0,)),
        (FAILS, ">&- 2>&-", (2,)),
        (FAILS, "> /dev/full 2>&1", (2,)),
        (SAYS, "> /dev/full 2>&1", (2,)),
    ],
)
def test_an_output_that_is_gone_causes_no_noise(
    monkeypatch: pytest.MonkeyPatch, program: str, shell: str, code: tuple[int, ...], unbuffered: str
) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    ended, error = outcome(program, shell)
    assert ended in code
    assert error == ""


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("program", [SAYS, VERSION])
def test_an_output_that_is_full_is_one_line(monkeypatch: pytest.MonkeyPatch, program: str, unbuffered: str) -> None:
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    full = "error: the output cannot be written: No space left on device\n"
    assert outcome(program, "> /dev/full") == (2, full)


def test_an_error_of_the_system_elsewhere_is_a_defect() -> None:
    def main(argv):
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        run(main, [])


def test_a_wrong_option_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert finish(lambda argv: command_parser("python -m p", "", "").parse_args(argv), ["--wrong"]) == 2
    assert capsys.readouterr().err == "error: unrecognized arguments: --wrong (python -m p --help shows what there is)\n"


def test_help_says_every_default(capsys: pytest.CaptureFixture[str]) -> None:
    def main(argv):
        parser = command_parser("python -m p", "", "")
        parser.add_argument("--rate", type=float, default=0.0, help="of %% a second")
        parser.add_argument("--told", default="a", help="as said (default: b)")
        parser.add_argument("--steps", default=(4, 8), help="of it")
        parser.add_argument("--more", action="append", default=[], help="of them")
        parser.add_argument("--on", action="store_true", help="switch")
        parser.parse_args(argv)

    assert finish(main, ["--help"]) == 0
    shown = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "--rate RATE of % a second (default: 0.0)" in shown
    assert "--told TOLD as said (default: b)" in shown
    assert "--steps STEPS of it (default: 4,8)" in shown
    assert "--more MORE of them" in shown
    assert "--on switch" in shown


def test_a_message_that_a_value_made_long_keeps_its_place_and_its_mend() -> None:
    said = str(UserError(f"place: {'x' * 10_000_000}; mend it"))
    assert len(said) < 2100
    assert said.startswith("place: xxx")
    assert said.endswith("xxx; mend it")
    assert str(UserError("short")) == "short"
