"""Processes that wait for each other while their launcher ends: real ones, under the real torchrun."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.engine.test_stops import ALONE, ROOT, runs, until

# The first waits for the second; the second comes when there is a file "come". Both write their numbers before they meet.
PROGRAM = """
import os, time
from pathlib import Path
from configs.cli import run
import accelerate
from engine.devices import process_state

real = accelerate.PartialState

def meet(**options):
    Path(f"meets-{os.environ['RANK']}").write_text(str(os.getpid()))
    return real(**options)

def main(argv):
    accelerate.PartialState = meet
    if os.environ["RANK"] == "1":
        Path("second").write_text(str(os.getpid()))
        while not Path("come").exists():
            time.sleep(0.05)
    print(process_state("cpu").num_processes, "met", flush=True)
    while not Path("leave").exists():
        time.sleep(0.05)
    print("left", flush=True)

run(main)
"""


@pytest.fixture
def launcher(tmp_path: Path) -> Any:
    """torchrun with the program in two processes; what it says is in ``said``. Nothing is left afterwards."""
    (tmp_path / "program.py").write_text(PROGRAM)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "program.py"]
    environment = {**ALONE, "PYTHONPATH": str(ROOT)}
    with (
        (tmp_path / "said").open("w") as said,
        subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=said, stderr=subprocess.STDOUT) as process,
    ):
        yield process
        process.kill()
        for name in ("meets-0", "second"):
            if (tmp_path / name).is_file() and runs(number := int((tmp_path / name).read_text())):
                os.kill(number, signal.SIGKILL)


def number_in(path: Path) -> int:
    return int(until(lambda: path.is_file() and path.read_text()))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_launcher_that_is_killed_leaves_nobody_who_waits_for_it(tmp_path: Path, launcher: subprocess.Popen) -> None:
    first, second = number_in(tmp_path / "meets-0"), number_in(tmp_path / "second")
    launcher.kill()
    until(lambda: not runs(first))
    (tmp_path / "come").touch()
    until(lambda: not runs(second))
    said = (tmp_path / "said").read_text()
    assert "Traceback" not in said
    assert said.count("error: the launcher (torchrun or accelerate launch) has ended; start it again") == 1
    assert not (tmp_path / "meets-1").exists()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_those_who_met_end_as_they_choose_when_the_launcher_is_killed(tmp_path: Path, launcher: subprocess.Popen) -> None:
    (tmp_path / "come").touch()
    both = [number_in(tmp_path / "meets-0"), number_in(tmp_path / "meets-1")]
    until(lambda: (tmp_path / "said").read_text().count("2 met") == 2)
    launcher.kill()
    launcher.wait()
    time.sleep(0.2)
    assert all(runs(number) for number in both)
    (tmp_path / "leave").touch()
    until(lambda: (tmp_path / "said").read_text().count("left") == 2)
    until(lambda: not any(runs(number) for number in both))
