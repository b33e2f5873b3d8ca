"""How many threads a program takes: what somebody said, else the idle cores it may use."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import configs.cli
from engine import threads

ROOT = Path(__file__).resolve().parents[2]
Times = namedtuple("Times", "user nice system idle iowait")
PROGRAM = """
import torch
from configs.cli import run
from engine.threads import allowed_cores, free_threads, settle_threads
settle_threads()
imported = torch.get_num_threads()
def main(argv):
    settle_threads()
    print(imported, torch.get_num_threads(), allowed_cores())
run(main, [])
"""


@pytest.fixture
def nobody_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, nobody_said: None) -> Callable[..., None]:
    """``machine(0.0, 1.0, allowed={0, 1})``: cores that are busy to such a share, of which this process may use some."""

    def make(*busy: float, allowed: set[int] | None = None, quota: float = float("inf")) -> None:
        before = [Times(5.0, 0.0, 5.0, 5.0, 0.0) for _ in busy]
        after = [Times(5.0 + share, 0.0, 5.0, 5.0 + (1 - share) / 2, (1 - share) / 2) for share in busy]
        seen: Iterator[Any] = iter([before, after])
        monkeypatch.setattr("psutil.cpu_times", lambda percpu: next(seen))
        monkeypatch.setattr("time.sleep", lambda _seconds: None)
        monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: allowed or set(range(len(busy))), raising=False)
        monkeypatch.setattr(threads, "_quota", lambda: quota)

    return make


@pytest.mark.parametrize(
    ("busy", "limits", "free"),
    [
        ((0.0, 0.0), {}, 2),
        ((0.1, 0.05), {}, 2),
        ((1.0, 0.0), {}, 1),
        ((1.0, 1.0), {}, 1),
        ((1.0, 0.0, 1.0, 0.0, 0.0), {}, 3),
        ((1.0, 0.0, 1.0, 0.0, 0.0), {"allowed": {0, 1, 3}}, 2),
        ((0.0,) * 8, {"quota": 2.5}, 2),
        ((0.0,) * 8, {"quota": 0.5}, 1),
    ],
)
def test_idle_cores_that_may_be_used_are_counted(
    machine: Callable[..., None], busy: tuple[float, ...], limits: dict[str, Any], free: int
) -> None:
    machine(*busy, **limits)
    assert threads.free_threads() == free


def test_processes_that_were_launched_together_share(machine: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    machine(*(0.0,) * 8)
    assert threads.free_threads() == 2


@pytest.mark.parametrize(("said", "found"), [("3", 3), ("5,2", 5), ("0", None), ("many", None), ("", None)])
def test_what_is_asked_for_counts(nobody_said: None, monkeypatch: pytest.MonkeyPatch, said: str, found: int | None) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", said)
    assert threads.asked_threads() == found
    monkeypatch.setenv("OMP_NUM_THREADS", "")
    monkeypatch.setenv("MKL_NUM_THREADS", said)
    assert threads.asked_threads() == found


def test_quotas_of_all_groups_above_are_read(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.write_text("0::/outer/inner\n")
    groups = tmp_path / "groups"
    (groups / "outer" / "inner").mkdir(parents=True)
    assert threads._quota(groups, own) == float("inf")
    (groups / "outer" / "inner" / "cpu.max").write_text("max 100000\n")
    (groups / "outer" / "cpu.max").write_text("250000 100000\n")
    assert threads._quota(groups, own) == 2.5
    (groups / "cpu").mkdir()
    (groups / "cpu" / "cpu.cfs_quota_us").write_text("150000\n")
    (groups / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert threads._quota(groups, own) == 1.5
    (groups / "cpu" / "cpu.cfs_quota_us").write_text("-1\n")
    assert threads._quota(groups, tmp_path / "absent") == float("inf")


def test_beside_busy_cores_a_program_takes_one_thread_and_an_import_none() -> None:
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        pytest.skip("needs two cores")
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(4)]
    try:
        for process in busy:
            os.sched_setaffinity(process.pid, cores)
        started = {"preexec_fn": lambda: os.sched_setaffinity(0, cores), "cwd": ROOT, "env": environment}
        done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, **started)
    finally:
        for process in busy:
            process.kill()
            process.wait()
    imported, settled, allowed = map(int, done.stdout.split())
    assert (imported > 1, settled, allowed) == (True, 1, 2)


def test_a_run_goes_on_with_as_many_threads_as_before(nobody_said: None, monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    monkeypatch.setattr(threads, "_settled", False)
    monkeypatch.setattr(configs.cli, "_running", False)
    try:
        assert threads.keep_threads(before + 1) is False
        monkeypatch.setattr(configs.cli, "_running", True)
        assert threads.keep_threads(before + 1) is True
        assert torch.get_num_threads() == before + 1
        monkeypatch.setenv("OMP_NUM_THREADS", "1")
        assert threads.keep_threads(before + 2) is False
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)
