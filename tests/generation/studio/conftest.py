"""The studio on tiny weights, in this process, and Debian's Chromium in front of it where it is found."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from generation.service.engine import Engine
from generation.service.http.access import Access
from generation.service.http.serving import address_of, listen, server_of
from generation.service.settings import EngineSettings
from generation.studio.app import create_studio
from tests.generation.service.conftest import MiddleFace, held  # noqa: F401


class Studio:
    """A running studio.

    Attributes:
        url: of its page. folder: of its files.
    """

    def __init__(self, engine: Engine, url: str, folder: Path) -> None:
        self.engine, self.url, self.folder = engine, url, folder

    def idle(self, seconds: float = 30) -> bool:
        """Whether no order is left within that time."""
        until = time.monotonic() + seconds
        while self.engine.admission.inside and time.monotonic() < until:
            time.sleep(0.05)
        return not self.engine.admission.inside

    def files(self) -> list[Path]:
        """Files that it keeps."""
        return [path for path in self.folder.rglob("*") if path.is_file()]


@pytest.fixture(scope="session")
def studio(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    access, folder = Access(port=0), tmp_path_factory.mktemp("studio") / "page"
    settings = EngineSettings(weights=str(weights), judge=None, detector="haar")
    with listen(access) as listening, Engine.open(settings) as engine:
        engine._detector = MiddleFace()
        server = server_of(create_studio(engine, access, folder=folder), engine, access)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield Studio(engine, address_of(listening), folder)
        finally:
            engine.stop()
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    sync = pytest.importorskip("playwright.sync_api", reason="needs playwright: make test installs it")
    found = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("no Chromium on this machine: make chromium")
    with sync.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--use-fake-ui-for-media-stream"])
        yield opened
        opened.close()


@pytest.fixture
def visit(browser: Any, studio: Studio) -> Iterator[Callable[..., Any]]:
    """``visit("/en/", **context)``: a page of a new visitor; at the end none asked anybody else, and none had an error."""
    contexts, wrong = [], list[str]()

    def asked(request: Any) -> None:
        if not request.url.startswith((studio.url, "data:", "blob:")):
            wrong.append(f"asked {request.url}")

    def open_page(path: str = "/en/", **context: Any) -> Any:
        contexts.append(browser.new_context(**context))
        page = contexts[-1].new_page()
        page.set_default_timeout(180_000)
        page.on("request", asked)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda said: wrong.append(f"{said.text} {said.location}") if said.type == "error" else None)
        page.goto(studio.url + path)
        page.locator("#make").wait_for()
        return page

    yield open_page
    for each in contexts:
        each.close()
    assert not wrong
