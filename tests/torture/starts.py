"""How a program is started: forked from this process, which has imported everything; by Python; by the real launchers."""

from __future__ import annotations

import importlib
import json
import os
import secrets
import signal
import subprocess
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.torture.faults import HOOK, VARIABLE, Faults
from tests.torture.works import Work

ROOT = Path(__file__).resolve().parents[2]
FORKED, PYTHON, ACCELERATE, TORCHRUN = STARTS = ("forked", "python -m", "accelerate launch", "torchrun, 2 processes")
_MARK = "TORTURE_RUN"
_LONGEST = 300.0
_ORPHANS_MAY_TAKE = 240.0
_ASKING = (signal.SIGINT, signal.SIGTERM)


def warm_up() -> None:
    """Import what forked programs need, and run nothing: threads do not survive a fork."""
    for name in (
        "accelerate", "torch._dynamo", "tqdm", "yaml", "pyarrow.parquet", "PIL.PngImagePlugin", "encoder.train", "vqvae.train",
        "vqvae.stages", "encoder.fitting.fit", "encoder.drawing.faces", "generation.sample", "generation.dataset.__main__",
        "generation.dataset.make", "generation.draw", "generation.files", "encoder.analyze", "encoder.analysis.analyzer",
        "encoder.analysis.tables", "encoder.analysis.by_parts", "encoder.analysis.part_folder", "encoder.analysis.inputs",
    ):  # fmt: skip
        importlib.import_module(name)


class Running:
    """A program that was started.

    Args:
        argv: without the program; ``fault``: see :class:`Faults`; ``log``: for all that it says.
        calls: of a forked program, the file that is told how many dealings with files there were.
    """

    def __init__(
        self, how: str, work: Work, argv: list[str], log: Path, fault: dict[str, Any] | None = None, calls: Path | None = None
    ) -> None:
        self.how, self.log, self._mark, self._code = how, log, secrets.token_hex(8), None
        self.started, self.orphans = time.monotonic(), 0
        log.touch()
        if how == FORKED:
            self.number = self._fork(work, argv, fault, calls)
            return
        environment = {**os.environ, _MARK: self._mark, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        if fault is not None:
            environment |= {VARIABLE: json.dumps(fault), "PYTHONPATH": str(HOOK)}
        with log.open("ab") as said:
            self._process = subprocess.Popen(
                [sys.executable, *_launcher(how, work), *argv], cwd=ROOT, env=environment, stdout=said, stderr=said,
                stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        self.number = self._process.pid

    def _fork(self, work: Work, argv: list[str], fault: dict[str, Any] | None, calls: Path | None) -> int:
        sys.stdout.flush()
        sys.stderr.flush()
        # A signal that comes before the child listens waits: Python would swallow it in what it does itself after a fork.
        signal.pthread_sigmask(signal.SIG_BLOCK, _ASKING)
        number = os.fork()
        if number:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _ASKING)
            return number
        code: Any = 1
        try:
            os.setsid()
            descriptor = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            for each in (1, 2):
                os.dup2(descriptor, each)
            sys.stdout, sys.stderr = (open(each, "w", closefd=False) for each in (1, 2))  # noqa: SIM115
            for each in _ASKING:
                signal.signal(each, signal.default_int_handler if each == signal.SIGINT else signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _ASKING)
            if fault is not None or calls is not None:
                Faults(fault or {"folder": argv[-1]}, calls).install()
            main = importlib.import_module(f"{work.module}.__main__" if work.module == "generation.dataset" else work.module).main
            from configs.cli import run

            run(main, argv)
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        except KeyboardInterrupt:
            traceback.print_exc()
            code = -signal.SIGINT  # as Python does
        except BaseException:
            traceback.print_exc()
        finally:
            for stream in (sys.stdout, sys.stderr):
                with suppress(OSError, ValueError):
                    stream.flush()
            if code == -signal.SIGINT:
                signal.signal(signal.SIGINT, signal.SIG_DFL)
                os.kill(os.getpid(), signal.SIGINT)
            os._exit(code)

    def poll(self) -> int | None:
        """The exit code, minus the number of a signal, or None while it runs."""
        if self.how != FORKED:
            return self._process.poll()
        if self._code is None:
            number, status = os.waitpid(self.number, os.WNOHANG)
            self._code = os.waitstatus_to_exitcode(status) if number else None
        return self._code

    def children(self) -> list[int]:
        """Processes that a launcher started, and that run still."""
        found = []
        for path in Path("/proc").glob("[0-9]*/environ") if self.how != FORKED else ():
            with suppress(OSError):
                if f"{_MARK}={self._mark}".encode() in path.read_bytes() and int(path.parent.name) != self.number:
                    found.append(int(path.parent.name))
        return found

    def send(self, number: signal.Signals, whom: str = "first") -> bool:
        """Send a signal to the ``first`` process, a ``child`` of a launcher, or ``all``; False: there was nobody."""
        if self.poll() is not None and whom != "all":
            return False
        children = self.children() if whom != "first" else []
        first = [self.number] if self.poll() is None else []
        targets = children[:1] if whom == "child" and children else [*first, *children] if whom == "all" else first
        for target in targets:
            with suppress(ProcessLookupError):
                os.kill(target, number)
        return bool(targets)

    def wait(self, until: float | None = None) -> int | None:
        """The exit code once nothing of it runs any more; None: at ``until`` it ran still.

        Those whom a launcher had started have to see that it was killed, and end: ``orphans`` counts who did not, and is killed.

        Raises:
            TimeoutError: it hangs; it was killed.
        """
        end, alone = time.monotonic() + _LONGEST, 0.0
        while True:
            code = self.poll()
            if code is not None and (until is not None or not self.children()):
                return code
            if until is not None and time.monotonic() >= until:
                return None
            if code is not None and code < 0:
                alone = alone or time.monotonic()
                if time.monotonic() > alone + _ORPHANS_MAY_TAKE:
                    self.orphans = max(self.orphans, len(self.children()))
                    self.send(signal.SIGKILL, "all")
            if time.monotonic() > end:
                self.send(signal.SIGKILL, "all")
                raise TimeoutError(f"{self.how} {self.log}: hangs")
            time.sleep(0.01 if self.how == FORKED else 0.05)


def _launcher(how: str, work: Work) -> list[str]:
    program = ["-m", work.module] if work.script is None else [work.script]
    if how == PYTHON:
        return ["-m", work.module]
    if how == ACCELERATE:
        return ["-m", "accelerate.commands.launch", "--config_file", "configs/accelerate/cpu.yaml", *program]
    return ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *program]
