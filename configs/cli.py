"""How a command begins and ends: one head for every command line, one clear line for a user's mistake."""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

USER_ERROR_EXIT = 2
INTERRUPT_EXIT = 130  # 128 + SIGINT, what a shell reports for a program stopped by Ctrl-C
BROKEN_PIPE_EXIT = 141  # 128 + SIGPIPE, what `yes | head -1` reports for `yes`
# Sent by schedulers before they kill, by `kill`, and when a terminal closes: by themselves they end a program without a word.
_FAREWELLS = (signal.SIGTERM, *((signal.SIGHUP,) if hasattr(signal, "SIGHUP") else ()))


_farewells: list[Callable[[], object]] = []
_called: dict[str, str] = {}


class UserError(Exception):
    """A mistake the user can mend. The message is one line: what is wrong, where, and how to mend it."""


class _Ended(BaseException):
    """A signal asked the program to end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


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

    def end(number: int, _frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)  # a second one ends at once
        if os.getpid() != owner:  # a child inherits the handler, and its parent has other ways to learn of its end
            os.kill(os.getpid(), number)
            return
        raise _Ended(number)

    taken = [number for number in _FAREWELLS if signal.getsignal(number) == signal.SIG_DFL]
    for number in taken:
        signal.signal(number, end)
    try:
        yield
    finally:
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
    return argparse.ArgumentParser(
        prog=_as_called(prog),
        description=_as_called(description or ""),
        epilog=_as_called(examples),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def command(main: Callable[[Sequence[str]], int | None]) -> Callable[[], NoReturn]:
    """The entry point of a program: :func:`run` with its ``main``, for ``if __name__ == "__main__"`` and installed scripts."""

    def cli() -> NoReturn:
        run(main)

    return cli


def run(main: Callable[[Sequence[str]], int | None], argv: Sequence[str] | None = None) -> NoReturn:
    """Call `main(argv)` and leave the process with its exit code (None counts as 0).

    `argv` defaults to the process's arguments without the program name. A `UserError` becomes `error: ...` on
    stderr and exit code 2; Ctrl-C one line and 130; SIGTERM and SIGHUP one line and 128 + their number, 143 and 129; a
    reader that went away (`| head`) silence and 141. Every other exception is a defect of the program and keeps its
    traceback.
    """
    in_order = False
    code: int | str | None = 1
    try:
        with _ended_by_signal():
            try:
                code = main(sys.argv[1:] if argv is None else argv) or 0
            except SystemExit as end:  # after --help, or since another process of a training has failed
                code = end.code
        sys.stdout.flush()  # inside the try, so that a closed pipe shows here and not at interpreter exit
        in_order = True
    except UserError as error:
        print("error: " + " ".join(str(error).split()), file=sys.stderr)
        code, in_order = USER_ERROR_EXIT, True
    except KeyboardInterrupt:
        print("\nstopped by Ctrl-C", file=sys.stderr)
        code = INTERRUPT_EXIT
    except _Ended as ended:
        with suppress(OSError):  # the terminal that closed may have been this one
            print(f"\nstopped by {signal.Signals(ended.number).name}", file=sys.stderr, flush=True)
        code = 128 + ended.number
    except BrokenPipeError:
        # Python flushes stdout once more at exit; pointing it at the null device keeps that flush quiet.
        with open(os.devnull, "wb") as null:
            os.dup2(null.fileno(), sys.stdout.fileno())
        code = BROKEN_PIPE_EXIT
    except BaseException:
        if not _farewells:
            raise
        traceback.print_exc()
    # Not in the blocks above: while an exception is handled, its traceback keeps alive all that the command held.
    if not in_order and _farewells:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(code if isinstance(code, int) else 1)
    while _farewells:
        _farewells.pop()()
    sys.exit(code)
