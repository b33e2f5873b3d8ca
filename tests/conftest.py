"""Shared by all tests: one printed random seed per session, the real faces where they are, modest threads."""

from __future__ import annotations

import os
import secrets
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent
REAL_DATA = ROOT.parent / "shared" / "data"

# Read by torch when it is first imported, here and in the programs that tests start.
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "2")
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
os.environ.setdefault("WANDB_MODE", "offline")

# A busy machine is no failure, so no example has a deadline.
settings.register_profile("mimique", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("mimique")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, default=None, help="seed of the random inputs; default: a fresh one, printed")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--seed") is None:
        config.option.seed = secrets.randbelow(2**31)
    if config.getoption("--hypothesis-seed") is None:
        config.option.hypothesis_seed = str(config.option.seed)


def _seed_line(config: pytest.Config) -> str:
    return f"random seed: {config.option.seed} (repeat with --seed {config.option.seed})"


def pytest_report_header(config: pytest.Config) -> str:
    return _seed_line(config)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if terminalreporter.stats.get("failed") or terminalreporter.stats.get("error"):
        terminalreporter.write_line(_seed_line(config))


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """Random numbers that depend on the session's seed and this test's name only, not on which tests ran before."""
    return np.random.default_rng([request.config.option.seed, zlib.crc32(request.node.nodeid.encode())])


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the real faces (fer2013plus, faces128); skips the test where it is absent. Mark it `realdata` too."""
    if not REAL_DATA.is_dir():
        pytest.skip("the real faces (../shared/data) are not on this machine")
    return REAL_DATA
