"""A few broken inputs of every kind on every run, and all that a campaign ever found. `make fuzz MINUTES=60` tries more."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.bounds import MOST_MEGABYTES, check_measured
from tests.fuzz.found import FOUND, read_case
from tests.fuzz.targets import TARGETS


@pytest.mark.parametrize("name", sorted(TARGETS))
@settings(max_examples=15, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_nothing_but_a_refusal_comes_out(name: str, data: st.DataObject) -> None:
    case = data.draw(TARGETS[name].cases)
    with tempfile.TemporaryDirectory() as folder:
        TARGETS[name].check(case, Path(folder))


@pytest.mark.parametrize("path", sorted(FOUND.glob("*.json")), ids=lambda path: path.stem)
def test_what_was_found_stays_mended(path: Path) -> None:
    problem, _, megabytes = check_measured(*read_case(path))
    assert not problem
    assert megabytes < MOST_MEGABYTES
