"""An engine on tiny weights, a service on it, and a picture with a face that a stand-in detector finds."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from encoder.detection.face import DetectedFace
from generation.service.engine import Engine
from generation.service.http.access import Access
from generation.service.http.app import create_app
from generation.service.settings import EngineSettings
from generation.service.turns import Place

BASE = "http://127.0.0.1"
ROOT = Path(__file__).resolve().parents[3]


class MiddleFace:
    """Finds one face in the middle of any picture."""

    def detect(self, picture: np.ndarray) -> list[DetectedFace]:
        height, width = picture.shape[:2]
        return [DetectedFace((width / 4, height / 4, width / 2, height / 2), 1.0)]


@pytest.fixture
def opened(weights: Path) -> Iterator[Callable[..., Engine]]:
    """``opened(**settings)``: an engine on tiny weights, closed after the test."""
    engines: list[Engine] = []

    def make(**settings: Any) -> Engine:
        engine = Engine.open(EngineSettings(**{"weights": str(weights), "judge": None, "detector": "haar", **settings}))
        engine._detector = MiddleFace()
        engines.append(engine)
        return engine

    yield make
    for engine in engines:
        engine.close()


@pytest.fixture
def engine(opened: Callable[..., Engine]) -> Engine:
    return opened()


@pytest.fixture
def service() -> Iterator[Callable[..., TestClient]]:
    """``service(engine, **access)``: a client of the service on it, which behaves like a program and not like a browser."""
    clients: list[TestClient] = []

    def make(engine: Engine, **access: Any) -> TestClient:
        client = TestClient(create_app(engine, Access(**access)), base_url=BASE, raise_server_exceptions=False)
        clients.append(client.__enter__())
        return client

    yield make
    for client in clients:
        client.__exit__(None, None, None)


@pytest.fixture
def picture(rng: np.random.Generator) -> bytes:
    """The bytes of a PNG of 96 pixels."""
    out = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (96, 96, 3), np.uint8)).save(out, format="PNG")
    return out.getvalue()


@pytest.fixture
def held() -> Callable[[Engine], AbstractContextManager[None]]:
    """``with held(engine):`` nothing is computed meanwhile, so that orders come together."""

    @contextmanager
    def hold(engine: Engine) -> Iterator[None]:
        begun, free = threading.Event(), threading.Event()

        def wait() -> None:
            begun.set()
            free.wait()

        thread = threading.Thread(target=lambda: engine.turns.call(Place("holder"), wait))
        thread.start()
        begun.wait()
        try:
            yield
        finally:
            free.set()
            thread.join()

    return hold


@pytest.fixture
def started(weights: Path, tmp_path: Path) -> Iterator[Callable[..., tuple[subprocess.Popen[str], str]]]:
    """``started(*options)``: the process, and its address."""
    processes = []
    (tmp_path / "tmp").mkdir()

    def start(*options: str) -> tuple[subprocess.Popen[str], str]:
        words = [sys.executable, "-m", "mimique", "serve", "--port", "0", "--weights", str(weights), "--judge", "none", *options]
        environment = os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path / "tmp")}
        how = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": environment, "cwd": tmp_path}
        process = subprocess.Popen(words, **how)  # type: ignore[call-overload]
        processes.append(process)
        found = re.search(r"http://\S+:\d+", process.stdout.readline())
        assert found, process.communicate()[1]
        return process, found[0]

    yield start
    for process in processes:
        process.kill()
        process.communicate()
