"""What the page and the help show of the service answers as shown, from the shell and from Python."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from docs.commands import blocks
from generation.service.__main__ import EXAMPLES

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs/how_to/serve_over_http.md").read_text(encoding="utf-8")
SHOWN = "localhost:8000"


def curls(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip().startswith("curl ")]


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    data = pytest.importorskip("skimage.data", reason="the photograph comes with the extra dev")
    Image.fromarray(data.astronaut()).save(tmp_path / "photo.jpg")
    return tmp_path


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not on this machine")
def test_every_curl_is_answered(started: Callable[..., tuple[subprocess.Popen[str], str]], photo: Path) -> None:
    _, address = started()
    lines = dict.fromkeys(curls(PAGE) + curls(EXAMPLES))
    assert len(lines) > 9
    for line in lines:
        words = shlex.split(line.replace(SHOWN, address.removeprefix("http://")))
        done = subprocess.run([*words, "--fail-with-body"], cwd=photo, capture_output=True, text=True)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        if "/metrics" not in line:
            json.loads(done.stdout)


def test_the_python_of_the_page_runs(
    started: Callable[..., tuple[subprocess.Popen[str], str]], photo: Path, likely: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, address = started()
    monkeypatch.chdir(photo)
    (code,) = [inside for language, inside in blocks(PAGE) if language == "python"]
    # Of random weights only one emotion can be had.
    exec(compile(code.replace("http://127.0.0.1:8000", address).replace("happiness", likely), "page", "exec"), {})  # noqa: S102
    assert (photo / "set.zip").exists()
    assert (photo / "edited.png").exists()
