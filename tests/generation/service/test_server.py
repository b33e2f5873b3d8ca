"""``mimique serve`` as a process: it says where it is, answers, and ends at Ctrl-C in the middle of a job without a trace."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import mimique
from generation.service.client import ServiceError

Started = Callable[..., tuple[subprocess.Popen[str], str]]
EVERYWHERE, TOKEN = "0.0.0.0", "0123456789abcdef"  # noqa: S104


@pytest.mark.parametrize(("number", "code", "word"), [(signal.SIGINT, 130, "Ctrl-C"), (signal.SIGTERM, 143, "SIGTERM")])
def test_it_ends_in_the_middle_of_a_job(started: Started, tmp_path: Path, number: signal.Signals, code: int, word: str) -> None:
    process, address = started()
    with mimique.Client(address, name="test", retries=0) as client:
        job = client.start_dataset(per_emotion=500)
        while client.job(job.id).state == "waiting":
            time.sleep(0.02)
        assert [path.stat().st_mode & 0o777 for path in (tmp_path / "tmp").glob("mimique-*")] == [0o700]
        process.send_signal(number)
        out, err = process.communicate()
        with pytest.raises(ServiceError):
            client.version()
    assert (process.returncode, out) == (code, "")
    assert f"stopped by {word}" in err
    assert "Traceback" not in err
    assert list((tmp_path / "tmp").glob("mimique-*")) == []


def test_who_listens_to_others_must_say_how_they_are_known(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "mimique", "serve", "--host", EVERYWHERE]
    done = subprocess.run(words, cwd=Path(__file__).parents[3], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "add --auth USER:PASSWORD or --token TOKEN" in done.stderr


def test_a_secret_may_stand_in_the_environment(started: Started, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIMIQUE_TOKEN", TOKEN)
    _, address = started("--host", EVERYWHERE)
    own = address.replace(EVERYWHERE, "127.0.0.1")
    with pytest.raises(ServiceError, match="401"):
        mimique.Client(own).version()
    assert mimique.Client(own, token=TOKEN).version()["looks"]
