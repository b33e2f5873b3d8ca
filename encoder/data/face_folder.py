"""Faces as image files in folders: ``train/<emotion>/*.jpg``, ``test/<emotion>/*.jpg`` and perhaps ``valid/...``."""

from __future__ import annotations

import hashlib
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from configs.cli import UserError
from encoder.data.face_set import FaceCollector, FaceSet, OnError, Split, parse_label
from encoder.pictures.face_images import MAX_BYTES, BadImage

_SPELLINGS: dict[Split, tuple[str, ...]] = {
    "train": ("train", "training"),
    "valid": ("valid", "val", "validation", "dev", "publictest"),
    "test": ("test", "testing", "privatetest"),
}
_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp"})
_IGNORED = frozenset({"thumbs.db", "desktop.ini"})  # what file managers leave behind; dot files are ignored too
HELD_OUT = 0.1


def split_folders(root: Path) -> dict[Split, Path]:
    """The folders of ``root`` that hold a split, by its common spellings (``val``, ``PublicTest``, ...).

    Raises UserError: two folders claim the same split.
    """
    found: dict[Split, Path] = {}
    for folder in _entries(root):
        name = re.sub(r"[ _-]", "", folder.name.lower())
        for split, spellings in _SPELLINGS.items():
            if name in spellings and folder.is_dir():
                if split in found:
                    raise UserError(f"{root}: both {found[split].name} and {folder.name} look like {split}: keep one")
                found[split] = folder
    return found


def read_folder_split(root: Path, split: Split, *, on_error: OnError, size: int | None) -> FaceSet:
    """One split of a folder layout; faces in the order of their paths.

    Where there is no folder for ``valid``, a tenth of train is held out for it: the files whose SHA-256, read as a
    fraction of its range, is below 0.1. The rule looks at the content only, so copies of a file stay together, and
    ``FaceSet.notes`` says that it was applied. Raises UserError: no folder for the split, no emotion folders in it, or a
    bad file while ``on_error`` is ``refuse``.
    """
    folders = split_folders(root)
    collector = FaceCollector(root.resolve().name or "folder", size=size, on_error=on_error)
    hold_out = "valid" not in folders and split != "test"
    if hold_out and "train" in folders:
        collector.notes.append(
            f"{root} has no folder for valid: a tenth of {folders['train'].name} is held out for it "
            f"(files whose SHA-256 lies below {HELD_OUT} of its range)"
        )
    wanted: Split = "train" if hold_out else split
    if wanted not in folders:
        names = ", ".join(_SPELLINGS[wanted])
        raise UserError(f"{root}: no folder for the split {wanted} (one of {names})")
    if not _stays_inside(folders[wanted], root):
        raise UserError(f"{folders[wanted]}: is a link that leaves {root}: move or copy the files there")
    files = list(_labelled_files(root, folders[wanted], collector))
    bar = tqdm(files, desc=f"reading {folders[wanted].name}", unit="face", delay=1, leave=False, disable=None)
    for path, label in bar:
        name = path.relative_to(root).as_posix()
        try:
            content = _read(path, root)
        except BadImage as error:
            collector.problem(str(path), str(error))
            continue
        except OSError as error:
            collector.problem(str(path), f"cannot be read ({error.strerror or error})")
            continue
        if hold_out and (_fraction(content) < HELD_OUT) != (split == "valid"):
            continue
        collector.add(content, name, place=str(path), label=label)
    return collector.finish()


def _labelled_files(root: Path, folder: Path, collector: FaceCollector) -> Iterator[tuple[Path, int]]:
    """Image files of the emotion folders with their class; anything else is reported."""
    emotions = _entries(folder)
    if not any(entry.is_dir() for entry in emotions):
        raise UserError(f"{folder}: holds no folders named by emotion, such as {folder.name}/happy")
    for entry in emotions:
        if not _stays_inside(entry, root):
            collector.problem(str(entry), "is a link that leaves the data set's folder")
            continue
        if not entry.is_dir():
            collector.problem(str(entry), "lies outside the emotion folders")
            continue
        try:
            label = parse_label(entry.name)
        except UserError as error:
            if entry.name.isdigit():
                # Other data sets number from 1: skipping one folder would silently shift all the others.
                raise UserError(f"{entry}: numbered folders must be 0 to 6 in the order of FER-2013; name them") from None
            collector.problem(str(entry), f"its {len(_entries(entry))} entries have no class: {error}")
            continue
        for path in _entries(entry):
            if path.suffix.lower() in _SUFFIXES:
                yield path, label
            else:
                collector.problem(str(path), "is no image file (.jpg, .jpeg, .png, .webp, .bmp)")


def _entries(folder: Path) -> list[Path]:
    """What lies in ``folder``, but for clutter."""
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith(".") and path.name.lower() not in _IGNORED)
    except OSError as error:
        raise UserError(f"{folder}: cannot be listed ({error.strerror or error})") from None


def _stays_inside(path: Path, root: Path) -> bool:
    try:
        return path.resolve(strict=True).is_relative_to(root.resolve())
    except (OSError, RuntimeError):
        return False


def _read(path: Path, root: Path) -> bytes:
    # The folders above it are inside already, so only a file that is a link itself can lead out.
    if path.is_symlink() and not _stays_inside(path, root):
        raise BadImage("is a link that leaves the data set's folder or leads nowhere")
    # Looked at before opening: a pipe would block, a device could be endless.
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise BadImage("is no regular file")
    if status.st_size > MAX_BYTES:
        raise BadImage(f"{status.st_size / 2**20:.0f} MiB, more than the {MAX_BYTES // 2**20} MiB allowed for one face")
    with path.open("rb") as stream:
        return stream.read(MAX_BYTES + 1)


def _fraction(content: bytes) -> float:
    return int.from_bytes(hashlib.sha256(content).digest()[:8], "big") / 2**64
