"""Small disks, and folders where nothing may be written."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def small_disk(place: Path, kilobytes: int) -> Iterator[Callable[[str], bool] | None]:
    """A disk of that size at ``place``, and a way to change it; None: this machine mounts none."""

    def mount(*options: str) -> bool:
        return subprocess.run(["mount", *options, str(place)], capture_output=True, check=False).returncode == 0

    if shutil.which("mount") is None or not mount("-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs"):
        yield None
        return
    yield lambda options: mount("-o", f"remount,{options}")


def unmount(place: Path) -> None:
    """Take a small disk away again."""
    if os.path.ismount(place):
        subprocess.run(["umount", "-l", str(place)], capture_output=True, check=False)


def allow(folder: Path, *, writing: bool) -> None:
    """Let its owner write in a folder, or not."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(path.stat().st_mode | 0o200 if writing else path.stat().st_mode & ~0o222)
