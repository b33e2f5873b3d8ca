"""The page as a whole: languages, sizes, several visitors, sets that outlive a reload, and what cannot be reached."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from generation.service.orders import DatasetOrder
from generation.studio.tabs import measured
from generation.studio.texts import texts
from tests.generation.studio.conftest import Studio
from tests.generation.studio.test_make import EVEN, ask
from tests.generation.studio.test_photos import tab

ROOT = Path(__file__).resolve().parents[3]
Visit = Callable[..., Any]
TABS = ("make", "edit", "read", "set", "measured")


def test_the_page_fits_a_phone_in_french_and_in_the_dark(visit: Visit) -> None:
    phone = {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark", "is_mobile": True, "has_touch": True}
    page, t = visit("/fr/", **phone), texts("fr")
    assert page.locator("#make").inner_text() == t("make.button", count=12)
    # The page's own script says so when it has loaded; the button may be there before.
    page.wait_for_function("document.documentElement.lang === 'fr'")
    for name in TABS:
        words = t(f"{name}.tab")
        if not page.get_by_role("tab", name=words).is_visible():
            page.get_by_role("button", name="More tabs").last.click()
            page.get_by_text(words, exact=True).last.click()
        else:
            tab(page, words)
        page.wait_for_timeout(300)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, name
    red, green, blue = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")[:3]
    assert max(red, green, blue) < 60


def test_two_visitors_have_each_their_own_faces(visit: Visit, studio: Studio) -> None:
    first, second = visit("/en/"), visit("/fr/")
    for page, seed in ((first, "5"), (second, "900")):
        page.locator(".seed input").first.fill(seed)
        ask(page, EVEN)
    for page, seed in ((first, 5), (second, 900)):
        page.locator("#faces-zip").wait_for()
        assert str(seed) in page.locator(".face .facts").first.inner_text()


@pytest.fixture
def easy(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> Studio:
    """Sets for which every face will do: untrained networks find no other."""
    start = studio.engine.start_dataset

    def any_face(order: DatasetOrder, **how: Any) -> Any:
        return start(order.model_copy(update={"threshold": 0.0, "least_difference": 0.0}), **how)

    monkeypatch.setattr(studio.engine, "start_dataset", any_face)
    return studio


def test_a_set_outlives_a_reload_is_stopped_and_goes_on(visit: Visit, easy: Studio, held: Any, likely: str) -> None:
    page = visit("/en/")
    tab(page, "Set")
    for name in EVEN.split(","):
        page.locator(f"#set-{name} input").fill("3" if name == likely else "0")
    # As a person does, who reads what was counted before the set is begun.
    page.locator("#set-total").get_by_text(texts("en")("set.total", count=3).replace("*", "")).wait_for()
    with held(easy.engine):
        page.locator("#set").click()
        page.locator("#set-view progress").wait_for()
        page.reload()
        tab(page, "Set")
        page.locator("#set-cancel").click()
    page.locator("#set-resume").click()
    page.locator("#set-view .take").wait_for()
    with page.expect_download() as taken:
        page.locator("#set-view .take").click()
    with zipfile.ZipFile(taken.value.path()) as archive:
        assert json.loads(archive.read("manifest.json"))["complete"] is True
        assert any(name.endswith("README.md") for name in archive.namelist())
    page.locator("#set-delete").click()
    page.locator("#set-view .empty").wait_for()
    assert not easy.engine.jobs.all


def test_figures_and_their_pictures_are_on_the_page(visit: Visit, studio: Studio) -> None:
    page = visit("/en/")
    tab(page, "Measured")
    page.locator("#claims").wait_for()
    page.locator("#measured-text table").first.wait_for()
    page.locator("#measured-page input").click()
    page.get_by_role("option", name="Believable faces").click()
    page.locator("#measured-text img").first.wait_for()
    assert page.locator("#measured-text img").first.evaluate("e => e.decode().then(() => e.naturalWidth)") > 0


def test_every_page_of_figures_has_a_title_and_its_pictures() -> None:
    found = measured.pages("pretrained")
    assert {"Measured", "Believable faces"} <= found.keys()
    for path in found.values():
        assert "](../" not in measured._text(path)
        assert not measured._text(path).startswith("---")


@pytest.mark.parametrize(("words", "place"), [("fr-CA,fr;q=0.9", "/fr/"), ("en", "/en/"), ("", "/en/")])
def test_the_door_leads_to_the_readers_language(studio: Studio, words: str, place: str) -> None:
    answer = httpx.get(studio.url, headers={"accept-language": words})
    assert (answer.status_code, answer.headers["location"]) == (307, place)


@pytest.mark.parametrize(
    "path",
    [
        "/en/gradio_api/file=/etc/passwd",
        "/en/gradio_api/file=/../../etc/passwd",
        "/en/gradio_api/file=http://127.0.0.1:1/x",
        "/en/gradio_api/file=https://example.org/x.png",
        "/en/gradio_api/file//etc/passwd",
        "/en/gradio_api/proxy=https://example.org/",
        "/en/proxy=https://example.org/",
        "/en/monitoring",
        "/en/gradio_api/runs",
        "/en/gradio_api/call/make",
        "/en/docs",
        "/en/openapi.json",
        "/en/static/../../../../etc/passwd",
        "/en/assets/..%2f..%2f..%2fetc%2fpasswd",
        "/measured/..%2fmkdocs.yml",
        "/measured/index.md",
        "/en/assets/" + "a" * 5000,
        "/en/static/" + "a" * 300,
    ],
)
def test_nothing_else_of_gradio_or_of_this_machine_is_served(studio: Studio, path: str) -> None:
    answer = httpx.get(studio.url + path)
    assert answer.status_code in (403, 404)
    assert "root:" not in answer.text


def test_addresses_are_never_fetched_by_events_of_the_page(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched = list[str]()

    async def get(url: str, **_: Any) -> None:
        fetched.append(url)
        raise ValueError("fetched")

    monkeypatch.setattr("safehttpx.get", get)
    config = httpx.get(studio.url + "/en/config", timeout=180).json()
    takes_files = {each["id"] for each in config["components"] if each["type"] in ("image", "file")}
    events = [each for each in config["dependencies"] if takes_files & set(each["inputs"])]
    assert len(events) >= 3
    address = "https://example.org/a.png"
    for event in events:
        given = {"path": address, "url": address, "orig_name": "a.png", "meta": {"_type": "gradio.FileData"}}
        data = [[given] if number in takes_files and "file" in _type(config, number) else given for number in event["inputs"]]
        asked = {"data": data, "fn_index": event["id"], "session_hash": f"fetch{event['id']}"}
        assert httpx.post(studio.url + "/en/gradio_api/queue/join", json=asked, timeout=180).status_code == 200
        told = studio.url + f"/en/gradio_api/queue/data?session_hash=fetch{event['id']}"
        with httpx.stream("GET", told, timeout=180) as stream:
            said = "".join(stream.iter_lines())
        assert "process_completed" in said
    assert not fetched


@pytest.mark.parametrize("asked", [{"data": [], "fn_index": 999, "session_hash": "x"}, {"data": 3}, []])
def test_events_that_the_page_does_not_have_are_refused(studio: Studio, asked: Any) -> None:
    for route in ("queue/join", "run/predict"):
        answer = httpx.post(f"{studio.url}/en/gradio_api/{route}", json=asked, timeout=180)
        assert answer.status_code == 422, answer.text


def _type(config: dict[str, Any], number: int) -> str:
    return next(str(each["type"]) for each in config["components"] if each["id"] == number)


def test_other_sites_cannot_use_the_page(studio: Studio) -> None:
    files = {"files": ("a.png", b"x")}
    foreign = httpx.post(studio.url + "/en/gradio_api/upload", files=files, headers={"origin": "https://example.org"})
    assert foreign.status_code == 403
    assert httpx.get(studio.url + "/en/", headers={"host": "example.org"}).status_code == 421


def test_the_page_may_load_nothing_from_elsewhere(studio: Studio) -> None:
    answer = httpx.get(studio.url + "/en/")
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert all("http" not in sources and "*" not in sources for sources in policy.values())
    assert policy["frame-ancestors"] == "'none'"


def test_a_file_that_is_too_large_is_refused(studio: Studio) -> None:
    most = studio.engine.settings.video_bytes
    answer = httpx.post(studio.url + "/en/gradio_api/upload", files={"files": ("a.png", b"x" * (most + 1))}, timeout=60)
    assert answer.status_code == 413


def test_uploads_that_nobody_reads_do_not_fill_the_disk(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("generation.studio.files._MOST_BYTES", 0)
    answer = httpx.post(studio.url + "/en/gradio_api/upload", files={"files": ("a.png", b"x")})
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "60")


@pytest.fixture
def program(weights: Path, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command, and its address."""
    (tmp_path / "tmp").mkdir()
    options = ["--port", "0", "--weights", str(weights), "--judge", "none", "--detector", "haar"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path / "tmp")}
    how: dict[str, Any] = {
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        "text": True,
        "env": environment,
        "cwd": tmp_path,
    }
    process = subprocess.Popen([sys.executable, "-m", "mimique", "studio", *options], **how)
    line = process.stdout.readline() if process.stdout else ""
    assert "the studio is on http://" in line, process.communicate()[1]
    yield process, next(word.rstrip(";") for word in line.split() if word.startswith("http"))
    process.kill()
    process.communicate()


def test_ctrl_c_amid_an_order_ends_it_and_leaves_nothing(program: tuple[subprocess.Popen[str], str], tmp_path: Path) -> None:
    process, url = program
    assert httpx.get(url + "/en/").status_code == 200

    def order() -> None:
        with pytest.raises(httpx.HTTPError):
            httpx.post(url + "/v1/faces", json={"emotion": "fear", "count": 64, "max_tries": 64}, timeout=60).raise_for_status()

    thread = threading.Thread(target=order)
    thread.start()
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    thread.join()
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert not [path for path in (tmp_path / "tmp").rglob("*") if path.is_file()]
