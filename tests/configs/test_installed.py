"""A program that is started without its packages says in one line what to type."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import pytest

from configs import installed
from configs.cli import run
from docs import from_code

ROOT = Path(__file__).resolve().parent.parent.parent
# Without its site-packages, this Python is like one that nobody prepared.
BARE = (sys.executable, "-S", "-E")


def bare(words: Sequence[str], folder: Path = ROOT) -> tuple[int, str, str]:
    done = subprocess.run([*BARE, *words], cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("started", [*(f"-m {name}" for name in from_code.programs()), "encoder/train.py", "vqvae/train.py"])
def test_every_program_says_what_is_missing_and_what_to_type(started: str) -> None:
    code, out, error = bare([*started.split(), "--help"])
    assert (code, out, error.count("\n")) == (2, "", 1)
    assert "has no pydantic, yaml, numpy, PIL, torch; type" in error
    assert error.rstrip().endswith("source .venv/bin/activate")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """As much of the project as begins to start."""
    for name in ("configs/__init__.py", "configs/installed.py", "generation/__init__.py", "Makefile"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def test_the_two_commands_and_where_one_is_enough(checkout: Path) -> None:
    words = ["-m", "generation.sample"]
    assert bare(words, checkout)[2].endswith("; type these two: make install && source .venv/bin/activate\n")
    (checkout / ".venv").mkdir()
    assert "make install" in bare(words, checkout)[2]
    (checkout / ".venv" / "installed-runtime").touch()
    assert bare(words, checkout)[2].endswith("; type: source .venv/bin/activate\n")
    (checkout / "Makefile").unlink()
    assert "install mimique again" in bare(words, checkout)[2]
    assert "\ninstall: $(RUNTIME)\n" in (ROOT / "Makefile").read_text()


def test_an_import_by_somebody_else_is_no_program(checkout: Path) -> None:
    assert bare(["-c", "import generation"], checkout) == (0, "", "")


def test_an_old_python_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["-m"])
    installed.require_installed()
    monkeypatch.setattr(sys, "version_info", (3, 9, 2))
    with pytest.raises(SystemExit, match="2"):
        installed.require_installed()
    assert "is 3.9, older than 3.11" in capsys.readouterr().err


def test_a_package_that_only_some_programs_need_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], checkout: Path
) -> None:
    def main(argv: Sequence[str]) -> None:
        import absent_package.inside  # noqa: F401

    with pytest.raises(SystemExit, match="2"):
        run(main, [])
    assert "has no absent_package; type" in capsys.readouterr().err
    monkeypatch.setattr(installed, "ROOT", str(checkout / "elsewhere"))
    monkeypatch.setattr(metadata, "requires", lambda _: ["numpy>=2", "Absent-Package>=1; extra == 'odd'", "absent; extra == 'b'"])
    with pytest.raises(SystemExit, match="2"):
        run(main, [])
    assert capsys.readouterr().err.endswith("type: python -m pip install 'mimique[odd]'\n")


def test_a_wrong_name_of_our_own_is_a_defect() -> None:
    def main(argv: Sequence[str]) -> None:
        import configs.absent  # noqa: F401

    with pytest.raises(ModuleNotFoundError, match=r"configs\.absent"):
        run(main, [])
