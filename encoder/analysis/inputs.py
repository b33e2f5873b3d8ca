"""What a user names, on disk or in storage, as inputs: loose pictures and videos, and shards that hold many pictures."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from configs.cli import UserError
from configs.wording import printable
from encoder.pictures.sources import PICTURE_ENDINGS, find_files
from engine.storage.stored_files import is_url, locate, storage_errors

SHARD_ENDINGS = (".parquet", ".tar")
Form = Literal["file", "parquet", "tar"]


@dataclass(frozen=True)
class Input:
    """One file to read.

    Attributes:
        name: path or URL.
        form: ``file`` is a picture or video; the others hold many pictures.
        size: bytes, where a listing said so.
    """

    name: str
    form: Form = "file"
    size: int | None = None


@dataclass(frozen=True)
class FoundInputs:
    """Inputs in the order in which they are read, and how many files were passed over for their endings."""

    inputs: tuple[Input, ...]
    ignored: int


def find_inputs(names: Sequence[str | Path]) -> FoundInputs:
    """Inputs behind names, as :func:`encoder.pictures.sources.find_files` finds them, and shards and URLs besides.

    A name that ends with ``.parquet`` or ``.tar`` is a shard. A folder on disk gives its pictures and videos, and its shards
    where it has neither. A folder under a URL gives its pictures and shards, a pattern there (``s3://bucket/*.tar``) its matches.

    Raises:
        UserError: nothing is behind a folder, pattern or URL, or its storage cannot be reached.
    """
    found: dict[str, Input] = {}
    ignored = 0
    for name in map(str, names):
        inputs, passed = _stored(name) if is_url(name) else _on_disk(name)
        for each in inputs:
            found.setdefault(each.name, each)
        ignored += passed
    return FoundInputs(tuple(found.values()), ignored)


def require_one(found: FoundInputs) -> None:
    """Refuse inputs of which none exists, before a table or a folder is made for them.

    Raises:
        UserError: all are paths on disk, and no file is there.
    """
    names = [each.name for each in found.inputs]
    if names and not any(is_url(name) or os.path.exists(name) for name in names):
        first = f"first of {len(names):,} problems: " if len(names) > 1 else ""
        raise UserError(f"nothing could be read; {first}{printable(names[0])}: no such file")


def measured(given: Input) -> Input:
    """The input with its size in bytes; None stays where a server does not say it.

    Raises:
        UserError: no such file.
    """
    if given.size is not None:
        return given
    with storage_errors(given.name):
        if not is_url(given.name):
            return Input(given.name, given.form, os.path.getsize(given.name))
        filesystem, path = locate(given.name)
        return Input(given.name, given.form, filesystem.info(path)["size"])


def _form(name: str) -> Form:
    ending = os.path.splitext(_bare(name))[1].lower()
    return "parquet" if ending == ".parquet" else "tar" if ending == ".tar" else "file"


def _bare(name: str) -> str:
    """A name without what follows the path of a web address (``?download=true``)."""
    return name.partition("?")[0] if name.startswith(("http://", "https://")) else name


def _on_disk(name: str) -> tuple[list[Input], int]:
    try:
        found = find_files([name])
    except UserError:
        shards = _shards_below(name) if os.path.isdir(name) else []
        if not shards:
            raise
        return [Input(shard, _form(shard)) for shard in shards], 0
    return [Input(file, _form(file)) for file in found.files], found.ignored


def _shards_below(folder: str) -> list[str]:
    paths = (path for path in Path(folder).rglob("*") if path.suffix.lower() in SHARD_ENDINGS and path.is_file())
    # As for pictures: what is hidden, or in a hidden folder, is not meant.
    return sorted(str(path) for path in paths if not any(part.startswith(".") for part in path.relative_to(folder).parts))


def _stored(url: str) -> tuple[list[Input], int]:
    filesystem, path = locate(url)
    pattern = glob.has_magic(_bare(path))
    wanted = (*PICTURE_ENDINGS, *SHARD_ENDINGS)
    with storage_errors(url):
        if not pattern and (_form(path) != "file" or _bare(path).lower().endswith(PICTURE_ENDINGS)):
            entries = {path: filesystem.info(path)}
        elif pattern:
            entries = filesystem.glob(path, detail=True)
        else:
            entries = filesystem.find(path, detail=True)
    files = {name: entry for name, entry in sorted(entries.items()) if entry.get("type", "file") == "file"}
    known = {name: entry for name, entry in files.items() if _bare(name).lower().endswith(wanted)}
    if not known:
        raise UserError(f"{url}: {'matches' if pattern else 'holds'} no picture and no shard ({', '.join(wanted)})")
    return [_of_storage(filesystem, name, entry) for name, entry in known.items()], len(files) - len(known)


def _of_storage(filesystem: Any, path: str, entry: dict[str, Any]) -> Input:
    name = filesystem.unstrip_protocol(path)
    size = entry.get("size")
    return Input(name, _form(name), None if size is None else int(size))
