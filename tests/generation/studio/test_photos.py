"""Edit and Read, as somebody with a browser does it; and what they do not keep."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.generation.studio.conftest import Studio
from tests.generation.studio.test_make import EVEN, ask

Visit = Callable[..., Any]
EVIL = "=cmd|' <img src=x onerror=alert(1)>.png"


@pytest.fixture
def photo(rng: np.random.Generator) -> bytes:
    out = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (96, 96, 3), np.uint8)).save(out, "PNG")
    return out.getvalue()


def tab(page: Any, name: str) -> None:
    page.get_by_role("tab", name=name).click()


def send(page: Any, where: str, *files: tuple[str, bytes]) -> None:
    """Send files with these names and contents."""
    given = [{"name": name, "mimeType": "image/png", "buffer": data} for name, data in files]
    page.locator(f"{where} input[type=file]").first.set_input_files(given)


def pictures(studio: Studio) -> list[Path]:
    """Files that hold what was sent, or anything but results."""
    return [path for path in studio.files() if path.suffix not in (".zip", ".csv", ".webp")]


def test_a_photograph_is_changed_and_no_copy_is_kept(visit: Visit, studio: Studio, photo: bytes) -> None:
    page = visit("/en/")
    tab(page, "Edit")
    send(page, "#edit-photo", ("me.png", photo))
    page.locator(".photo button.box.chosen").wait_for()
    assert not pictures(studio)
    page.locator("#edit").click()
    page.locator("#edit-zip").wait_for()
    assert page.locator("#proposals .face").count() == 6
    page.locator("#proposals .face").nth(2).click()
    assert page.locator("#proposals .face").nth(2).get_attribute("aria-pressed") == "true"
    assert page.locator("#edit-slider img").count() == 2
    with page.expect_download() as taken:
        page.locator("#edit-zip").click()
    with zipfile.ZipFile(taken.value.path()) as archive:
        manifest = json.loads(archive.read("manifest.json"))
        whole = Image.open(io.BytesIO(archive.read(manifest["proposals"][0]["file"])))
        assert whole.size == (96, 96)
        assert whole.info["AI-generated"] == "true"
    assert not pictures(studio)


def test_a_face_that_was_made_goes_on_to_be_changed(visit: Visit, studio: Studio) -> None:
    page = visit("/fr/")
    ask(page, EVEN)
    page.locator("#faces-zip").wait_for()
    page.locator(".face").first.click()
    page.locator("#edit-face").click()
    page.locator(".photo button.box.chosen").wait_for()
    assert page.get_by_role("tab", name="Modifier").get_attribute("aria-selected") == "true"


def test_what_is_no_picture_is_refused_and_deleted(visit: Visit, studio: Studio) -> None:
    page = visit("/en/")
    tab(page, "Edit")
    send(page, "#edit-photo", ("me.png", b"<svg onload=alert(1)>" * 9))
    page.locator("#edit-say .note.wrong").wait_for()
    assert not pictures(studio)
    page.locator("#edit").click()
    page.get_by_text("Send a photograph first").wait_for()


def test_many_photographs_become_one_zip_whatever_they_are_called(visit: Visit, studio: Studio, photo: bytes) -> None:
    page = visit("/en/")
    tab(page, "Edit")
    page.locator("#many button").first.click()
    send(page, "#many-files", (EVIL, photo), ("b.png", b"no picture"))
    page.locator("#many-files .filename").nth(1).wait_for()
    page.locator("#many-go").click()
    page.locator("#many-zip").wait_for()
    assert page.locator("#many-table img").count() == 0
    with page.expect_download() as taken:
        page.locator("#many-zip").click()
    with zipfile.ZipFile(taken.value.path()) as archive:
        assert all(name.replace("-", "").replace("_", "").replace(".", "").isalnum() for name in archive.namelist())
        good, bad = json.loads(archive.read("manifest.json"))["pictures"]
    assert good["problem"] is None
    assert "file" not in bad
    assert not pictures(studio)


def test_pictures_are_read_explained_and_written_as_a_table(visit: Visit, studio: Studio, photo: bytes) -> None:
    page = visit("/en/")
    tab(page, "Read")
    send(page, "#read-files", (EVIL, photo), ("b.png", photo))
    page.locator("#read-csv").wait_for()
    assert page.locator("#read-view .photo .box").count() == 2
    assert page.locator("#read-view .bar").count() == 14
    with page.expect_download() as taken:
        page.locator("#read-csv").click()
    rows = list(csv.DictReader(Path(taken.value.path()).read_text().splitlines()))
    assert len(rows) == 2
    assert not rows[0]["file"].startswith("=")
    assert sum(float(rows[1][name] or 0) for name in EVEN.split(",")) == pytest.approx(1.0, abs=0.5)
    page.locator("#explain").click()
    page.locator("#read-view .why").nth(1).wait_for()
    assert not pictures(studio)


def test_a_video_is_read_along_its_time(visit: Visit, studio: Studio, tmp_path: Path, rng: np.random.Generator) -> None:
    av = pytest.importorskip("av")
    with av.open(str(tmp_path / "film.mp4"), "w") as film:
        stream = film.add_stream("mpeg4", rate=5)
        stream.width = stream.height = 96
        stream.pix_fmt = "yuv420p"
        for _ in range(10):
            frame = av.VideoFrame.from_ndarray(rng.integers(0, 256, (96, 96, 3), np.uint8), format="rgb24")
            film.mux(stream.encode(frame))
        film.mux(stream.encode())
    page = visit("/en/")
    tab(page, "Read")
    page.locator("#read-files input[type=file]").first.set_input_files(str(tmp_path / "film.mp4"))
    page.locator("#timeline").wait_for()
    page.locator("#read-csv").wait_for()
    assert not pictures(studio)
