"""Trainings that are stopped from outside, or meet each other: real processes on drawn faces."""

from __future__ import annotations

import io
import os
import pty
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from configs.cli import UserError
from engine.storage.checkpoint import checkpoint_steps
from engine.storage.lock import FolderLock

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ["encoder/train.py", "model.widths=[8,16]", "model.depths=[1,1]", "preprocessing.size=16", "data.drawn_count=64"]
ENDLESS = [*PROGRAM, "train.batch_size=16", "train.epochs=1000000", "train.device=cpu", "train.precision=no"]
# Beside other work, two threads of one process wait for each other.
ALONE = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
LAUNCH = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", "configs/accelerate/cpu.yaml"]


def until(happened: Callable[[], Any], seconds: float = 200) -> Any:
    """What ``happened`` gives once it is true."""
    end = time.monotonic() + seconds
    while not (found := happened()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
    return found


def holder(run: Path) -> int:
    """The number of the process that trains in ``run``."""
    return int((run / ".lock").read_text().split()[0])


def runs(number: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(number, 0)
        return True
    return False


@contextmanager
def training(run: Path, *launcher: str, **options: Any) -> Iterator[subprocess.Popen]:
    """A training that would go on for ever, once it has begun; nothing of it is left afterwards."""
    command = [*(launcher or [sys.executable]), *ENDLESS, "--out", str(run)]
    with ExitStack() as stack:
        process = stack.enter_context(subprocess.Popen(command, cwd=ROOT, env=ALONE, **{"start_new_session": True} | options))
        stack.callback(lambda: process.poll() is None and process.kill())
        until(lambda: (run / "metrics.jsonl").is_file() or process.poll() is not None)
        assert process.poll() is None
        member = holder(run)
        stack.callback(lambda: runs(member) and os.kill(member, signal.SIGKILL))
        yield process


def test_a_folder_is_for_one_process_at_a_time(tmp_path: Path, forked: Callable[..., Any]) -> None:
    def program(_rank: int) -> int:
        try:
            FolderLock(tmp_path, "trains").take()
        except UserError as error:
            print(error)
            return 2
        return 0

    lock = FolderLock(tmp_path, "trains")
    lock.take()
    lock.take()
    said = forked(program).ends(2)
    assert f"{tmp_path}: process {os.getpid()} trains here; wait until it has ended" in said
    lock.close()
    forked(program).ends(0)
    lock.take()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_second_training_is_refused_and_the_end_of_the_launcher_ends_the_first_with_a_checkpoint(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with training(run, *LAUNCH) as launcher:
        child = holder(run)
        assert child != launcher.pid
        resumed = [sys.executable, *ENDLESS, "--out", str(run), "--resume", "latest"]
        done = subprocess.run(resumed, cwd=ROOT, env=ALONE, capture_output=True, text=True, check=False)
        assert (done.returncode, launcher.poll()) == (2, None)
        assert done.stderr == f"error: {run}: process {child} trains here; wait until it has ended, or choose another --out\n"
        launcher.terminate()
        assert launcher.wait() == -signal.SIGTERM
        until(lambda: not runs(child))
        FolderLock(run, "trains").take()
    assert checkpoint_steps(run)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_after_ctrl_c_the_last_line_says_how_to_go_on(tmp_path: Path) -> None:
    with (
        (tmp_path / "said").open("w") as said,
        training(tmp_path / "run", *LAUNCH, stdout=said, stderr=subprocess.STDOUT) as launcher,
    ):
        child = holder(tmp_path / "run")
        os.killpg(launcher.pid, signal.SIGINT)
        launcher.wait()
        until(lambda: not runs(child))
    lines = (tmp_path / "said").read_text().splitlines()
    assert "following values were not passed" not in "".join(lines)
    assert lines[-1].startswith("encoder: stopped at step ")
    assert lines[-1].endswith("continue with --resume latest")
    assert checkpoint_steps(tmp_path / "run")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_terminal_that_is_closed_leaves_a_checkpoint(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    shown = io.BytesIO()

    def watch() -> None:
        while select.select([ours], [], [], 0.1)[0] or not closed.is_set():
            with suppress(BlockingIOError):
                shown.write(os.read(ours, 4096))

    os.set_blocking(ours, False)
    closed, watching = threading.Event(), threading.Thread(target=watch)
    watching.start()
    options = {"start_new_session": False, "preexec_fn": lambda: os.login_tty(theirs)}
    try:
        with training(tmp_path / "run", **options) as process:
            closed.set()
            watching.join()
            os.close(ours)
            os.close(theirs)
            assert process.wait(120) == 129
    finally:
        closed.set()
    assert b"encoder" in shown.getvalue()
    assert checkpoint_steps(tmp_path / "run")
