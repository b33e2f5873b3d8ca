"""``--version`` of every program: that of the project, and which weights ship."""

from __future__ import annotations

import importlib
import json
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from configs import version
from docs import from_code
from engine.storage.weights import WEIGHTS_FILE, file_sha256

ROOT = Path(__file__).resolve().parent.parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.mark.parametrize("program", from_code.programs())
def test_every_program_has_a_version(program: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        importlib.import_module(from_code.programs()[program]).main(["--version"])
    assert capsys.readouterr().out == version.version_text() + "\n"


def test_a_checkout_that_is_not_installed_knows_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", absent)
    assert version.version() == PROJECT["version"]


def test_weights_are_named_by_their_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = version.shipped_weights()
    assert {"encoder", "judge", "tokenizer", "prior"} <= shipped.keys()
    for name, (digest, by) in shipped.items():
        stored = json.loads((ROOT / "pretrained" / name / "config.json").read_text())
        assert by == stored.get("version", "")
        assert file_sha256(ROOT / "pretrained" / name / WEIGHTS_FILE).startswith(digest)
        assert len(digest) == 12
    (tmp_path / "pretrained" / "broken").mkdir(parents=True)
    (tmp_path / "pretrained" / "broken" / "config.json").write_text("[")
    (tmp_path / "pretrained" / "old").mkdir()
    monkeypatch.setattr(version, "ROOT", tmp_path)
    assert version.version_text().endswith("(and the version that wrote them): none")
    (tmp_path / "pretrained" / "old" / "config.json").write_text(json.dumps({"sha256": "a" * 64}))
    (tmp_path / "pretrained" / "broken" / "config.json").write_text(json.dumps({"sha256": "b" * 64, "version": "7.8"}))
    assert version.version_text().endswith(f": broken {'b' * 12} (7.8), old {'a' * 12}")
