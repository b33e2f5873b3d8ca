"""A setting that the chosen source of faces does not read is refused: nobody trains on drawn faces by mistake."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from configs.cli import UserError

BASE, DRAWN = "--config configs/{}/base.yaml", "--config configs/{}/drawn.yaml"


@pytest.mark.parametrize(
    ("program", "words", "message"),
    [
        ("vqvae", ["faces.fer2013=DATA"], f"fer2013 is not read while source=drawn: give {BASE}, or set faces.source=real"),
        ("vqvae", ["faces.faces128=DATA"], f"faces128 is not read while source=drawn: give {BASE}"),
        ("vqvae", ["faces.colour128=DATA"], "colour128 is not read while source=drawn"),
        ("vqvae", ["faces.shards=DATA"], "shards is not read while source=drawn: set faces.source=shards"),
        ("vqvae", ["faces.source=shards", "faces.shards=DATA", "faces.fer2013=DATA"], "fer2013 is not read while source=shards"),
        ("vqvae", [*BASE.split(), "faces.fer2013=DATA", "faces.drawn_count=99"], f"drawn_count is not read .*: give {DRAWN}"),
        ("vqvae", [*BASE.split(), "faces.fer2013=DATA", "faces.look=drawn"], "look is not read while source=real"),
        ("encoder", ["data.path=nowhere"], f"path is not read while source=drawn: give {BASE}, or set data.source=real"),
        ("encoder", [*BASE.split(), "data.path=DATA", "data.drawn_count=99"], f"drawn_count is not read .*: give {DRAWN}"),
    ],
)
def test_what_the_source_does_not_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, words: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message.format(program)):
        importlib.import_module(f"{program}.train").main([word.format(program) for word in words])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("vqvae", []),
        ("vqvae", ["faces.drawn_count=99"]),
        ("vqvae", ["faces.source=real", "faces.drawn_count=8000", "faces.fer2013=DATA"]),
        ("vqvae", ["faces.source=shards", "faces.shards=DATA", "faces.look=drawn", "faces.drawn_count=8000"]),
        ("encoder", []),
        ("encoder", [*BASE.split(), "data.path=DATA"]),
    ],
)
def test_what_the_source_reads_is_taken(capsys: pytest.CaptureFixture[str], program: str, words: list[str]) -> None:
    with pytest.raises(SystemExit):
        importlib.import_module(f"{program}.train").main(["--print-config", *(word.format(program) for word in words)])
    assert "source: " in capsys.readouterr().out
