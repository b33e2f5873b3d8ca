"""How a command ends: one clear line for a user's mistake, a traceback only for ours."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

USER_ERROR_EXIT = 2
INTERRUPT_EXIT = 130  # 128 + SIGINT, what a shell reports for a program stopped by Ctrl-C
BROKEN_PIPE_EXIT = 141  # 128 + SIGPIPE, what `yes | head -1` reports for `yes`


class UserError(Exception):
    """A mistake the user can mend. The message is one line: what is wrong, where, and how to mend it."""


def run(main: Callable[[Sequence[str]], int | None], argv: Sequence[str] | None = None) -> NoReturn:
    """Call `main(argv)` and leave the process with its exit code (None counts as 0).

    `argv` defaults to the process's arguments without the program name. A `UserError` becomes `error: ...` on
    stderr and exit code 2; Ctrl-C one line and 130; a reader that went away (`| head`) silence and 141. Every
    other exception is a defect of the program and keeps its traceback.
    """
    try:
        code = main(sys.argv[1:] if argv is None else argv) or 0
        sys.stdout.flush()  # inside the try, so that a closed pipe shows here and not at interpreter exit
    except UserError as error:
        print("error: " + " ".join(str(error).split()), file=sys.stderr)
        code = USER_ERROR_EXIT
    except KeyboardInterrupt:
        print("\nstopped by Ctrl-C", file=sys.stderr)
        code = INTERRUPT_EXIT
    except BrokenPipeError:
        # Python flushes stdout once more at exit; pointing it at the null device keeps that flush quiet.
        with open(os.devnull, "wb") as null:
            os.dup2(null.fileno(), sys.stdout.fileno())
        code = BROKEN_PIPE_EXIT
    sys.exit(code)
