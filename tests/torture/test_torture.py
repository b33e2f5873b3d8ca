"""The tools of torture do what they say; `make torture MINUTES=60` uses them."""

from __future__ import annotations

import errno
import os
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fuzz.ledger import add_to_ledger, markdown, read_ledger
from tests.torture.__main__ import add, table
from tests.torture.bench import Outcome
from tests.torture.cases import tracebacks
from tests.torture.faults import Faults


def writes(folder: Path, plan: dict[str, Any]) -> Callable[[int], None]:
    """What a process does that writes three files of one byte with a fault in it."""

    def act(_rank: int) -> None:
        Faults({"folder": str(folder), **plan}, folder.parent / "calls").install()
        failed = 0
        for number in range(3):
            try:
                with open(folder / str(number), "wb") as file:
                    file.write(b"x")
            except OSError as error:
                failed += error.errno == errno.ENOSPC
        os._exit(10 + failed)

    return act


@pytest.mark.parametrize(
    ("plan", "code"),
    [
        ({}, 10),
        ({"errno": errno.ENOSPC, "at": 3}, 11),
        ({"errno": errno.ENOSPC, "at": 3, "lasting": True}, 12),
        ({"signal": int(signal.SIGKILL), "at": 4}, -signal.SIGKILL),
        ({"errno": errno.ENOSPC, "at": 7, "lasting": True}, 10),
    ],
)
def test_a_fault_comes_at_the_call_that_was_said(
    tmp_path: Path, forked: Callable[..., Any], plan: dict[str, Any], code: int
) -> None:
    (tmp_path / "run").mkdir()
    assert forked(writes(tmp_path / "run", plan)).wait() == [code]
    if code == 10:
        assert (tmp_path / "calls").read_text() == "6"  # an opening and a write, three times


def test_tracebacks_are_found_among_other_words() -> None:
    one = 'Traceback (most recent call last):\n  File "a.py", line 1, in f\n    g()\nValueError: no'
    assert tracebacks(f"epoch 1\n{one}\nepoch 2\n") == [one]
    assert tracebacks("error: one line\n") == []


def test_the_table_adds_up() -> None:
    one = Outcome("forked", "stopped", runs=2, starts=5, resumed=3, kills=Counter({"SIGKILL": 2, "SIGINT": 1}), slowest_stop=0.5)
    two = Outcome("forked", "disk full", runs=1, starts=2, resumed=1, lost=1)
    total = Outcome()
    for each in (one, two):
        add(total, each)
    assert (total.runs, total.starts, total.resumed, total.kills.total(), total.lost) == (3, 7, 4, 3, 1)
    last = table({(each.start, each.wrong): each for each in (one, two)}).splitlines()[-1].split()
    assert last == ["all", "3", "7", "4", "2", "0", "1", "1", "0", "0", "0", "0.5", "s"]


def test_campaigns_of_several_nights_add_up(tmp_path: Path) -> None:
    ledger = tmp_path / "of" / "ledger.jsonl"
    add_to_ledger(ledger, "kills", "python -m x", trials=3, worst_seconds=2.5)
    add_to_ledger(ledger, "kills", "python -m x", trials=1_000, worst_seconds=0.5)
    assert read_ledger(ledger) == {"kills": {"command": "python -m x", "trials": 1_003, "worst_seconds": 2.5}}
    assert markdown(ledger).splitlines()[-1] == "| kills | 1,003 | 2.5 | `python -m x` |"
