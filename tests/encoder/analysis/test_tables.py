"""Tables of faces appear when they are complete."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from configs.cli import run
from encoder.analysis.rows import FaceRow
from encoder.analysis.tables import create_table


def test_a_table_that_is_not_closed_leaves_its_former_content(tmp_path: Path) -> None:
    path = tmp_path / "faces.csv"
    path.write_text("former")
    table = create_table(path)
    table.write(FaceRow("a.jpg", problem="no such file"))
    assert path.read_text() == "former"
    table.close()
    table.close()
    assert path.read_text().splitlines()[1].startswith("a.jpg,")


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".json"])
def test_a_kill_leaves_the_rows_so_far(tmp_path: Path, forked: Callable[..., Any], ending: str) -> None:
    path = tmp_path / f"faces{ending}"

    def killed(_rank: int) -> None:
        table = create_table(path)
        for number in range(3):
            table.write(FaceRow(f"{number}.jpg", problem="no such file"))
        os.kill(os.getpid(), signal.SIGKILL)

    assert forked(killed).wait() == [-signal.SIGKILL]
    (left,) = tmp_path.glob("faces*")
    assert left.name == f"faces{ending}.partial"
    rows = [line for line in left.read_text().splitlines() if "no such file" in line]
    assert [f"{number}.jpg" in row for number, row in enumerate(rows)] == [True] * 3
    table = create_table(path)
    table.close()
    assert [file.name for file in tmp_path.glob("faces*")] == [path.name]
    assert "no such file" not in path.read_text()


def test_two_processes_do_not_write_one_table(tmp_path: Path, forked: Callable[..., Any]) -> None:
    table = create_table(tmp_path / "faces.csv")
    table.write(FaceRow("a.jpg", problem="no such file"))
    started = forked(lambda _rank: run(lambda _argv: create_table(tmp_path / "faces.csv").close(), []))
    started.ends_with_one_line(f"error: {tmp_path}/faces.csv.partial: another process is writing it")
    table.close()
    assert "a.jpg" in (tmp_path / "faces.csv").read_text()
