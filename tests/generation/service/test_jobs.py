"""Labelled sets in the background: how far they are, stopped, gone on with, fetched, deleted."""

from __future__ import annotations

import io
import json
import time
import zipfile
from collections.abc import Callable
from typing import Any

import pytest

from configs.cli import UserError
from generation.service.admission import Busy
from generation.service.engine import Engine
from generation.service.jobs import Job
from generation.service.orders import DatasetOrder

Opened = Callable[..., Engine]


def ended(job: Job) -> str:
    """Its state once it has ended."""
    while job.active:
        time.sleep(0.01)
    return job.state.state


def small(likely: str, **changes: Any) -> DatasetOrder:
    return DatasetOrder(**{"counts": {likely: 6}, "threshold": 0.0, "least_difference": 0.0, **changes})


def test_a_set_is_made_packed_and_counted(engine: Engine, likely: str) -> None:
    job = engine.start_dataset(small(likely))
    assert ended(job) == "done"
    state = job.state
    assert (state.done, state.asked, state.complete, state.problem) == (6, 6, True, None)
    assert job.archive is not None
    with zipfile.ZipFile(io.BytesIO(job.archive.read_bytes())) as archive:
        manifest = json.loads(archive.read("manifest.json"))
        pictures = [name for name in archive.namelist() if name.endswith(".png")]
    assert len(pictures) == 6
    assert manifest["command"] == state.command
    assert state.command.startswith(f"mimique dataset --counts {likely}:6 --out faces/ --least-difference 0.0")
    assert [path.name for path in job.folder.iterdir()] == ["set.zip"]


def test_a_stopped_set_goes_on_where_it_was(engine: Engine, held: Any, likely: str) -> None:
    with held(engine):
        job = engine.start_dataset(small(likely))
        job.cancel()
    assert ended(job) == "cancelled"
    assert job.archive is None
    assert ended(engine.jobs.resume(job.id)) == "done"
    assert engine.jobs.resume(job.id).state.state == "done"


def test_a_set_that_is_deleted_is_gone(engine: Engine, held: Any, likely: str) -> None:
    done = engine.start_dataset(small(likely))
    assert ended(done) == "done"
    with held(engine):
        making = engine.start_dataset(small(likely))
        while making.state.state == "waiting":
            time.sleep(0.01)
        for job in (done, making):
            engine.jobs.delete(job.id)
            with pytest.raises(KeyError):
                engine.jobs[job.id]
        assert not done.folder.exists()
    assert ended(making) == "cancelled"
    while making.folder.exists():
        time.sleep(0.01)


def test_sets_of_which_nobody_hears_are_deleted(opened: Opened, likely: str) -> None:
    engine = opened(kept_seconds=0.01)
    job = engine.start_dataset(small(likely))
    assert ended(job) == "done"
    time.sleep(0.02)
    engine.jobs.sweep()
    assert (len(engine.jobs), job.folder.exists()) == (0, False)


@pytest.mark.parametrize(
    ("order", "words"),
    [
        (DatasetOrder(), "either per_emotion or counts"),
        (DatasetOrder(per_emotion=1, counts={"fear": 1}), "either per_emotion or counts"),
        (DatasetOrder(per_emotion=10), "at most 20 faces"),
        (DatasetOrder(counts={"../fear": 1}), "counts"),
        (DatasetOrder(per_emotion=1, gender="female"), "cannot be told"),
    ],
)
def test_a_set_that_cannot_be_is_refused_at_once(opened: Opened, order: DatasetOrder, words: str) -> None:
    engine = opened(most_set=20)
    with pytest.raises(UserError, match=words):
        engine.start_dataset(order)
    assert len(engine.jobs) == 0


def test_a_client_keeps_only_so_many(opened: Opened, likely: str) -> None:
    engine = opened(most_jobs=1)
    job = engine.start_dataset(small(likely), client="a")
    with pytest.raises(Busy, match="delete one first"):
        engine.start_dataset(small(likely), client="a")
    engine.start_dataset(small(likely), client="b")
    engine.jobs.delete(job.id)
    engine.start_dataset(small(likely), client="a")


def test_a_failed_set_names_no_place_of_this_machine(engine: Engine, likely: str) -> None:
    job = engine.start_dataset(DatasetOrder(counts={likely: 1}))
    job.cancel()
    ended(job)
    (job.folder / "set").mkdir(exist_ok=True)
    (job.folder / "set" / "stranger.txt").touch()
    if (job.folder / "set" / ".work").exists():
        (job.folder / "set" / ".work" / "request.json").unlink(missing_ok=True)
    assert ended(engine.jobs.resume(job.id)) == "failed"
    assert str(job.folder) not in str(job.state.problem)
    assert "is not empty" in str(job.state.problem)
