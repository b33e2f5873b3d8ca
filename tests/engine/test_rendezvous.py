"""Processes that wait for each other while their launcher ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch.distributed as dist

from configs.cli import UserError
from engine import rendezvous
from engine.rendezvous import ended_with_launcher
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
    # The second says so; the first is ended while it waits.
    assert said.count("error: the launcher (torchrun or accelerate launch) has ended; start it again") == 1
    assert said.count("error: ") == 1
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


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """This process is one that torchrun started, and torchrun's own store takes connections."""
    with socket.create_server(("127.0.0.1", 0)) as store:
        for name, value in zip(("MASTER_ADDR", "MASTER_PORT"), store.getsockname(), strict=True):
            monkeypatch.setenv(name, str(value))
        monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", "True")
        monkeypatch.setattr(rendezvous, "LAUNCHER", os.getppid())
        yield monkeypatch


def test_processes_meet_while_their_launcher_runs(launched: pytest.MonkeyPatch) -> None:
    with ended_with_launcher():
        met = True
    assert met


def test_a_launcher_that_ended_before_is_seen_by_its_number_or_by_its_store(launched: pytest.MonkeyPatch) -> None:
    with launched.context() as patch:
        patch.setattr(rendezvous, "LAUNCHER", os.getpid())
        with pytest.raises(UserError, match="has ended; start it again"), ended_with_launcher():
            pytest.fail("went on")
    with socket.create_server(("127.0.0.1", 0)) as free:
        launched.setenv("MASTER_PORT", str(free.getsockname()[1]))
    with pytest.raises(UserError, match="has ended; start it again"), ended_with_launcher():
        pytest.fail("went on")
    # Who started it without a launcher is not asked for one.
    launched.setattr(rendezvous, "LAUNCHER", None)
    with ended_with_launcher():
        pass


def test_a_store_that_is_lost_while_they_wait_is_one_line(launched: pytest.MonkeyPatch) -> None:
    line = r"^the launched processes did not find each other \(lost\); start the launcher again$"
    with pytest.raises(UserError, match=line), ended_with_launcher():
        raise dist.DistNetworkError("lost\n#0 0x0 in recv")
