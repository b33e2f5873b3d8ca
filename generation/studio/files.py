"""Files of the page: uploads, of which no copy stays, and downloads, all in one private folder, swept after an hour."""

from __future__ import annotations

import io
import json
import os
import secrets
import shutil
import threading
import time
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from configs.cli import UserError
from generation.files import made_now
from generation.service.orders import EditResult, FacesResult, MadeFace
from generation.service.settings import MIB

# An upload that nobody asked to read by then was given up; all files together are no more than that many bytes.
_UNREAD_SECONDS, _MOST_BYTES = 600, 1024 * MIB
_LOOKS = 60.0


class Files:
    """The folder in which Gradio keeps what comes and goes; deleted by :meth:`close`.

    Args:
        folder: made, for its owner only. kept_seconds: after which a download is deleted; an upload that is not read after
            ten minutes.
    """

    def __init__(self, folder: Path, kept_seconds: float) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder, self._kept, self._closed = folder.resolve(), kept_seconds, threading.Event()
        self._given = self.folder / "downloads"
        threading.Thread(target=self._sweep_all, name="files of the page", daemon=True).start()

    def take(self, given: str | None, most: int) -> bytes:
        """The bytes of an upload, whose file is deleted at once.

        Raises:
            UserError: there is none, it lies elsewhere, or it has more than ``most`` bytes.
        """
        self.sweep()
        path = Path(given or "").resolve()
        if not given or not path.is_relative_to(self.folder) or not path.is_file():
            raise UserError("there is no such upload; send the file again")
        try:
            size = path.stat().st_size
            if size > most:
                raise UserError(f"{size / MIB:.1f} MiB, more than the {most / MIB:g} MiB allowed; make it smaller")
            return path.read_bytes()
        finally:
            self.drop(given)

    def drop(self, given: str) -> None:
        """Delete an upload, if it is there yet."""
        path = Path(given).resolve()
        if path.is_relative_to(self.folder) and path.is_file():
            path.unlink(missing_ok=True)
            if path.parent != self.folder and not any(path.parent.iterdir()):
                path.parent.rmdir()

    def give(self, name: str, data: bytes) -> str:
        """A file to download, at a place that nobody can guess."""
        self.sweep()
        place = self._given / secrets.token_urlsafe(18)
        place.mkdir(mode=0o700, parents=True)
        (place / name).write_bytes(data)
        return str(place / name)

    def sweep(self) -> None:
        """Delete what is too old."""
        now = time.time()
        for path in sorted(self.folder.rglob("*"), reverse=True):
            longest = self._kept if path.is_relative_to(self._given) else min(self._kept, _UNREAD_SECONDS)
            try:
                if path != self._given and path.stat().st_mtime < now - longest:
                    path.rmdir() if path.is_dir() else path.unlink()
            except OSError:  # another request was quicker, or the folder holds younger files
                continue

    def has_room(self) -> bool:
        """Whether another upload may come."""
        found = (path for path in self.folder.rglob("*") if path.is_file())
        try:
            return sum(path.stat().st_size for path in found) < _MOST_BYTES
        except OSError:  # one of them was deleted meanwhile
            return True

    def _sweep_all(self) -> None:
        while not self._closed.wait(_LOOKS):
            self.sweep()

    def close(self) -> None:
        """Delete all."""
        self._closed.set()
        shutil.rmtree(self.folder, ignore_errors=True)


def face_files(faces: Sequence[MadeFace]) -> dict[str, bytes]:
    """A name for each face, and its PNG."""
    return {f"{number:02d}-{face.top}-{face.seed:06d}.png": face.png for number, face in enumerate(faces)}


def faces_zip(result: FacesResult, further: Mapping[str, bytes] | None = None) -> bytes:
    """PNGs with a manifest that says how to make and why to trust them."""
    files = face_files(result.faces)
    records = [
        {"file": name, **face.model_dump(mode="json", exclude={"png"})} for name, face in zip(files, result.faces, strict=True)
    ]
    about = {**made_now(), "command": result.command, "python": result.python, "weights_sha256": result.weights}
    counts = {"asked": result.asked, "tried": result.tried, "complete": result.complete, "seconds": result.seconds}
    return archive({**files, **(further or {})}, {**about, "result": counts, "faces": records})


def edit_zip(result: EditResult) -> bytes:
    """Whole pictures and close-ups of an edit, with a manifest; the face as it was is not in it."""
    files, records = dict[str, bytes](), list[dict[str, Any]]()
    for number, each in enumerate(result.proposals, 1):
        close = f"{number:02d}-close-up.png"
        files[close] = each.close_up
        record = {"close_up": close, **each.model_dump(mode="json", exclude={"png", "close_up"})}
        if each.png is not None:
            record["file"] = f"{number:02d}-{each.top}.png"
            files[record["file"]] = each.png
        records.append(record)
    before = result.before.model_dump(mode="json", exclude={"png", "close_up"})
    about = {**made_now(), "command": result.command, "python": result.python, "weights_sha256": result.weights}
    return archive(files, {**about, "box": result.box, "before": before, "proposals": records})


def archive(files: Mapping[str, bytes], manifest: Mapping[str, Any]) -> bytes:
    """A ZIP of files and their manifest."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as made:
        for name, data in files.items():
            made.writestr(name, data)
        made.writestr("manifest.json", json.dumps(manifest, indent=2, ensure_ascii=False) + os.linesep)
    return out.getvalue()
