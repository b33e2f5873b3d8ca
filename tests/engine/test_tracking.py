"""Figures of a run: one line a step in metrics.jsonl, one W&B run however often it is resumed."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine.training.tracking import Tracker


class FakeRun:
    def __init__(self, **options: Any) -> None:
        self.options, self.logged = options, []

    def log(self, content: dict[str, Any], step: int) -> None:
        self.logged.append((step, content))

    def finish(self) -> None:
        self.logged.append((0, {}))


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[FakeRun]:
    import wandb

    started: list[FakeRun] = []
    monkeypatch.setattr(wandb, "init", lambda **options: started.append(FakeRun(**options)) or started[-1])
    monkeypatch.setattr(wandb, "Image", lambda path: SimpleNamespace(path=path))
    return started


def steps(run: Path) -> list[int]:
    return [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_a_resumed_run_logs_every_step_once(tmp_path: Path) -> None:
    first = Tracker(tmp_path)
    for step in range(1, 8):
        first.log(step, {"loss": 1.0 / step})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 8, "lo')  # killed while writing
    second = Tracker(tmp_path)
    second.rewind(5)
    assert steps(tmp_path) == [1, 2, 3, 4, 5]
    second.log(6, {"loss": 0.5})
    assert steps(tmp_path) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("login", "mode"), [(None, "offline"), ("variable", "online"), ("file", "online"), ("elsewhere", "offline")]
)
def test_a_resumed_run_is_the_same_wandb_run(
    tmp_path: Path, runs: list[FakeRun], monkeypatch: pytest.MonkeyPatch, login: str | None, mode: str
) -> None:
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    if login == "variable":
        monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    elif login is not None:
        host = "api.wandb.ai" if login == "file" else "example.org"
        (tmp_path / "netrc").write_text(f"machine {host} login user password {'x' * 40}\n")
    for _ in range(2):
        Tracker(tmp_path / "run", wandb=True).finish()
    Tracker(tmp_path / "other", wandb=True)
    first, second, other = (run.options for run in runs)
    assert first["id"] == second["id"] != other["id"]
    assert [(options["mode"], options["resume"]) for options in (first, second)] == [(mode, "allow")] * 2


def test_scalars_and_pictures_reach_wandb_and_the_run_folder(tmp_path: Path, runs: list[FakeRun]) -> None:
    tracker = Tracker(tmp_path, wandb=True)
    tracker.log(3, {"valid/usage": 0.5})
    tracker.pictures(3, {"reconstructions": b"\x89PNG"})
    assert (tmp_path / "samples" / "reconstructions-00000003.png").read_bytes() == b"\x89PNG"
    (step, scalars), (picture_step, images) = runs[0].logged
    assert (step, scalars, picture_step) == (3, {"valid/usage": 0.5}, 3)
    assert images["reconstructions"].path.endswith("reconstructions-00000003.png")


def test_a_tracker_that_fails_is_said_once_and_never_stops_training(
    tmp_path: Path, runs: list[FakeRun], capsys: pytest.CaptureFixture[str]
) -> None:
    tracker = Tracker(tmp_path, wandb=True)

    def fail(content: dict[str, Any], step: int) -> None:
        raise ConnectionError("no network")

    runs[0].log = fail  # type: ignore[method-assign]
    for step in (1, 2):
        tracker.log(step, {"loss": 1.0})
    assert capsys.readouterr().err.count("W&B stopped taking figures") == 1
    assert steps(tmp_path) == [1, 2]
