"""Files that appear complete or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from configs.cli import UserError
from engine.storage.atomic import atomic_write_text, draft, write_json


@pytest.mark.parametrize("former", [b"former", None])
def test_a_draft_takes_its_name_when_all_is_written(tmp_path: Path, former: bytes | None) -> None:
    path = tmp_path / "file"
    if former is not None:
        path.write_bytes(former)
    with draft(path) as stream:
        stream.write(b"new")
        assert (path.read_bytes() if path.exists() else None) == former
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), UserError("no"), OSError(errno.ENOSPC, "full")])
def test_a_draft_that_ends_badly_leaves_the_former_content(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"former")
    refusal = pytest.raises(UserError, match="cannot be written: the disk is full") if isinstance(error, OSError) else None
    with refusal or pytest.raises(type(error)), draft(path) as stream:
        stream.write(b"half")
        raise error
    assert path.read_bytes() == b"former"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_disk_that_fails_at_the_last_moment_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(UserError, match=r"file\.json: cannot be written: input/output error"):
        write_json(tmp_path / "file.json", {"a": 1})
    assert os.listdir(tmp_path) == []


def test_a_folder_that_is_missing_is_one_line_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file or directory"):
        atomic_write_text(tmp_path / "absent" / "figures.json", "")
    assert os.listdir(tmp_path) == []
