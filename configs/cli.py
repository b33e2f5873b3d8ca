"""How a command begins and ends: one head for every command line, one clear line for a user's mistake."""

from __future__ import annotations

import argparse
import importlib.util
import io
import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn, TextIO
from weakref import ReferenceType, ref

from configs.installed import lacking
from configs.wording import without_middle

USER_ERROR_EXIT = 2
INTERRUPT_EXIT = 130  # 128 + SIGINT, what a shell reports for a program stopped by Ctrl-C
BROKEN_PIPE_EXIT = 141  # 128 + SIGPIPE, what `yes | head -1` reports for `yes`
# Sent by schedulers before they kill, by `kill`, and when a terminal closes: by themselves they end a program without a word.
_FAREWELLS = (signal.SIGTERM, *((signal.SIGHUP,) if hasattr(signal, "SIGHUP") else ()))

# The process that started this one for accelerate or torchrun, which say so; None: nobody did. Asked as early as can be: it
# may end any time.
LAUNCHER = os.getppid() if {"ACCELERATE_DYNAMO_MODE", "TORCHELASTIC_RUN_ID"} & os.environ.keys() else None

_farewells: list[Callable[[], object]] = []
_called: dict[str, str] = {}
_running = False


def in_program() -> bool:
    """Whether this process runs a command of the project, and does not only import it."""
    return _running


class UserError(Exception):
    """A mistake the user can mend. The message is one line: what is wrong, where, and how to mend it.

    Of a message that a value from outside made longer than some 2,000 signs, the middle is left out.
    """

    def __init__(self, *message: object) -> None:
        super().__init__(*(without_middle(each) if isinstance(each, str) else each for each in message))


class _Ended(BaseException):
    """A signal asked the program to end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number, self.arrived = number, False

    def __del__(self) -> None:
        # Destructors, and imports that try what they find, swallow whatever is raised in them: then it is sent again.
        if not self.arrived:
            again = threading.Timer(0.05, signal.pthread_kill, (threading.main_thread().ident, self.number))
            again.daemon = True
            again.start()


def leave_taking(act: Callable[[], object]) -> None:
    """Call ``act`` when this process's command has ended in order; what was registered last is called first.

    It is for what other processes take part in. A command that ends out of order (a second Ctrl-C, a defect) may have left
    them in the middle of something: then nothing is called, and the process leaves without Python's own tidying up, too.
    """
    if act not in _farewells:
        _farewells.append(act)


@contextmanager
def _ended_by_signal() -> Iterator[None]:
    """Let ``_FAREWELLS`` end this process by an exception, so that it says so and leaves nothing half done behind.

    What somebody else set stays: a signal that is ignored (``nohup``), and handlers of stages that stop between steps.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    owner = os.getpid()
    raised: list[ReferenceType[_Ended]] = []

    def end(number: int, _frame: FrameType | None) -> None:
        child = os.getpid() != owner  # it inherits the handler, and its parent has other ways to learn of its end
        if child or (raised and raised[-1]() is not None):  # a second one ends at once
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        ended = _Ended(number)
        raised.append(ref(ended))
        try:
            raise ended
        finally:
            del ended  # else its own traceback would keep it alive when it is swallowed

    def tell(seen: Any) -> None:
        if not isinstance(seen.exc_value, _Ended):  # how else Python would print one that a destructor swallowed
            before(seen)

    taken = [number for number in _FAREWELLS if signal.getsignal(number) == signal.SIG_DFL]
    for number in taken:
        signal.signal(number, end)
    before, sys.unraisablehook = sys.unraisablehook, tell
    try:
        yield
    except _Ended as ended:
        ended.arrived = True
        raise
    finally:
        sys.unraisablehook = before
        for number in taken:
            signal.signal(number, signal.SIG_DFL)


def call_programs(names: Mapping[str, str]) -> None:
    """How programs are called from now on, for their help: ``{"python -m generation.sample": "mimique sample"}``."""
    _called.update(names)


def _as_called(text: str) -> str:
    for own, shown in _called.items():
        text = re.sub(rf"{re.escape(own)}(?![\w.])", shown, text)
    return text


def command_parser(prog: str, description: str | None, examples: str) -> argparse.ArgumentParser:
    """The head that all command lines share: what it does, its options, and examples and exit codes as they were typed.

    Args:
        prog: how it is called, such as ``python -m encoder.train``.
        description: usually the program's ``__doc__``.
        examples: shown below the options with its line breaks.
    """
    parser = _Parser(
        prog=_as_called(prog), description=_as_called(description or ""), epilog=_as_called(examples), formatter_class=_Help
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="say which version this is, and which weights ship with it")
    return parser


class _Parser(argparse.ArgumentParser):
    """Says what is wrong without the usage, which takes twenty lines where there are many options."""

    def error(self, message: str) -> NoReturn:
        self.exit(USER_ERROR_EXIT, f"error: {message} ({self.prog} --help shows what there is)\n")


class _Help(argparse.RawDescriptionHelpFormatter):
    """Says the default of every option that has one."""

    def _get_help_string(self, action: argparse.Action) -> str:
        text, default = action.help or "", action.default
        if action.nargs == 0 or not action.option_strings or default in (None, argparse.SUPPRESS, []) or "default" in text:
            return text
        shown = ",".join(map(str, default)) if isinstance(default, list | tuple) else str(default)
        return f"{text} (default: {shown})"


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from configs.version import version_text

        print(version_text())
        parser.exit()


def add_overwrite(parser: argparse.ArgumentParser) -> None:
    """``--overwrite``, without which :func:`engine.storage.atomic.require_new` refuses to replace a file."""
    parser.add_argument("--overwrite", action="store_true", help="replace files that are there already (default: refuse)")


def command(main: Callable[[Sequence[str]], int | None]) -> Callable[[], NoReturn]:
    """The entry point of a program: :func:`run` with its ``main``, for ``if __name__ == "__main__"`` and installed scripts."""

    def cli() -> NoReturn:
        run(main)

    return cli


def run(main: Callable[[Sequence[str]], int | None], argv: Sequence[str] | None = None) -> NoReturn:
    """Call `main(argv)` and leave the process with its exit code (None counts as 0).

    `argv` defaults to the process's arguments without the program name. A `UserError` becomes `error: ...` on
    stderr and exit code 2, and so do a package that is not there and an output that is full; Ctrl-C one line and 130;
    SIGTERM and SIGHUP one line and 128 + their number, 143 and 129; a reader that went away (`| head`) silence and 141.
    Every other exception is a defect of the program and keeps its traceback.
    """
    global _running
    _running = True
    in_order = False
    code: int | str | None = 1
    # A terminal that takes ASCII or strict UTF-8 only is shown the rest as escapes; a file's name must not end a batch.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        with _ended_by_signal():
            try:
                code = main(sys.argv[1:] if argv is None else argv) or 0
            except SystemExit as end:  # after --help, or since another process of a training has failed
                code = end.code
        if sys.stdout is not None:
            sys.stdout.flush()  # inside the try, so that a closed pipe shows here and not at interpreter exit
        in_order = True
    except KeyboardInterrupt as stop:
        _say("\nstopped by Ctrl-C" + (f": {stop}" if stop.args else ""))
        code = INTERRUPT_EXIT
    except _Ended as ended:
        _say(f"\nstopped by {signal.Signals(ended.number).name}")
        code = 128 + ended.number
    except BrokenPipeError:
        _silence()
        code = BROKEN_PIPE_EXIT
    except BaseException as error:
        line = _line(error)
        if line is None:
            if not _farewells:
                raise
            traceback.print_exc()
        else:
            _say("error: " + " ".join(line.split()))
            code, in_order = USER_ERROR_EXIT, True
    # Not in the blocks above: while an exception is handled, its traceback keeps alive all that the command held.
    if _farewells and not in_order:
        _leave_at_once(code)
    try:
        while _farewells:
            _farewells.pop()()
    except KeyboardInterrupt:
        _say("\nstopped by Ctrl-C")
        _leave_at_once(INTERRUPT_EXIT)
    sys.exit(code)


def _leave_at_once(code: int | str | None) -> NoReturn:
    """End without Python's own tidying up."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code if isinstance(code, int) else 1)


def _line(error: BaseException) -> str | None:
    """What to tell of an error that somebody can mend; None for a defect of the program."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, ModuleNotFoundError) and error.name:
        name = error.name.partition(".")[0]
        # A module that is missing in a package that is there is a wrong name of ours, or somebody's broken package.
        return lacking(name) if importlib.util.find_spec(name) is None else None
    # Gloo, through which launched processes on CPUs talk, throws no type of its own.
    if LAUNCHER is not None and isinstance(error, RuntimeError) and "gloo/transport" in str(error):
        return "another of the launched processes has ended; see what it said, and start again with --resume latest"
    # A file has a name in its errors, or `draft` has made a UserError of them.
    if isinstance(error, OSError) and error.filename is None and not _takes(sys.stdout, "\n"):
        _silence()
        return f"the output cannot be written: {error.strerror or error}"
    return None


def _say(text: str) -> None:
    """Print a line on stderr, unless that has gone, with the terminal that closed or the reader of a pipe."""
    if not _takes(sys.stderr, f"{text}\n"):
        _silence()


def _silence() -> None:
    """Let what waits for a stream that takes no more go nowhere: Python would fail on it at its exit."""
    for stream in (sys.stdout, sys.stderr):
        if not _takes(stream, ""):
            with open(os.devnull, "wb") as null:
                os.dup2(null.fileno(), stream.fileno())


def _takes(stream: TextIO | None, text: str) -> bool:
    """Whether a stream, with what waits for it, takes a text."""
    try:
        if stream is not None:
            stream.write(text)
            stream.flush()
    except OSError:
        return False
    return True
