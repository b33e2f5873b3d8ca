"""The benchmark of many photographs reads what it wrote, and counts it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from configs.cli import UserError
from eval.benchmarks import photographs


def test_every_photograph_is_found_and_read_and_the_arithmetic_is_that_of_the_figures(capsys: pytest.CaptureFixture[str]) -> None:
    assert photographs.main(["--photographs", "6", "--size", "256"]) == 0
    printed = capsys.readouterr().out
    assert "6 photographs, longer side 256 px" in printed
    assert "6 faces in 6 photographs" in printed
    assert {"Parquet", "tar"} <= set(re.findall(r"^(\w+): [\d,]+ bytes a photograph", printed, flags=re.MULTILINE))
    speed = float(re.findall(r"([\d.]+) photographs a second", printed)[0])
    hours = float(re.findall(r"([\d,]+) core-hours", printed)[0].replace(",", ""))
    assert hours == pytest.approx(10**8 / speed / 3600, rel=0.02)


def test_what_cannot_be_measured_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("not a picture")
    with pytest.raises(UserError, match="at least --photographs 2"):
        photographs.main(["--photographs", "1"])
    with pytest.raises(UserError, match=r"text\.jpg: not an image"):
        photographs.main(["--photograph", str(tmp_path / "text.jpg")])
