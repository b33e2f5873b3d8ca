"""Edited pictures on disk: what is written for each, and how an interrupted batch goes on."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

from configs.cli import UserError
from configs.wording import printable
from encoder.emotions import describe
from encoder.pictures.face_images import BadImage
from engine.storage.atomic import atomic_write_bytes, atomic_write_text, make_folder, short_name
from engine.storage.plain_json import parse_json
from engine.storage.provenance import png, weights_text
from generation.editing.face import EditedFace
from generation.editing.proposals import Edit
from generation.files import MANIFEST, made_now, sheet
from generation.verify import rounded

_ENDINGS = (".png", "-proposals.png", "-strip.png", ".json")
_MAX_RECORD_BYTES = 1 << 20
_TILE = 160


def file_names(sources: Sequence[str], folder: Path) -> dict[str, str]:
    """For each source the name, without ending, of the files written for it in ``folder``.

    It is the source's own, numbered where another source or the edits of another picture have it. A picture is the same if
    its path is, or its content.

    Raises:
        UserError: something that is no record of an edit is there under such a name.
    """
    taken = {MANIFEST}
    names: dict[str, str] = {}
    for source in sources:
        stem = short_name(Path(source).stem or "picture", 32)  # room for the longest ending and a number
        numbered = (stem if number == 1 else f"{stem}-{number}" for number in count(1))
        free = (name for name in numbered if not taken & {(name + ending).lower() for ending in _ENDINGS})
        names[source] = name = next(name for name in free if not _is_another(source, folder, name))
        taken |= {(name + ending).lower() for ending in _ENDINGS}
    return names


def _is_another(source: str, folder: Path, name: str) -> bool:
    """Whether the files of this name in ``folder`` are edits, and of another picture; the picture is read only if need be."""
    record = _record(folder / f"{name}.json")
    if record is not None:
        made = record["source"]
        return made.get("path_sha256") != path_sha256(source) and made["sha256"] != _content(source)
    # An edit that was broken off before its record was written.
    texts = [_edited_from(folder / (name + ending)) for ending in _ENDINGS[:-1]]
    return any(text is not None and _content(source) not in text for text in texts)


def _content(source: str) -> str:
    with suppress(BadImage):  # said when it is its turn
        return sha256(source)
    return ""


def path_sha256(source: str) -> str:
    """SHA-256 of where a picture stands: whether two are the same file is to be known, not how folders are called."""
    return hashlib.sha256(os.fsencode(os.path.realpath(source))).hexdigest()


def sha256(path: str) -> str:
    """SHA-256 of a picture's file.

    Raises:
        BadImage: it cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BadImage((error.strerror or str(error)).lower()) from None


def finished(folder: Path, name: str, asked: Mapping[str, Any]) -> dict[str, Any] | None:
    """The record of an earlier run under the same settings, or None where there is none or a file of it is gone.

    Raises:
        UserError: the record says that the settings were others, or is none of ours.
    """
    path = folder / f"{name}.json"
    record = _record(path)
    if record is None:
        return None
    if record["asked"] != json.loads(json.dumps(asked)):
        raise UserError(f"{path}: an edit with other settings; choose another --out, or remove it")
    return record if all((folder / file).is_file() for file in record["files"]) else None


def _record(path: Path) -> dict[str, Any] | None:
    """The record of an edit, or None where there is no such file; the record of something else is refused."""
    if not path.exists():
        return None
    try:
        if path.stat().st_size > _MAX_RECORD_BYTES:
            raise ValueError("too large")
        record: dict[str, Any] = parse_json(path.read_bytes(), str(path))
        if not all(isinstance(value, str) for value in (record["source"]["sha256"], *record["files"])) or "asked" not in record:
            raise ValueError("another content")
    except (OSError, ValueError, TypeError, KeyError, UserError) as error:
        raise UserError(f"{path}: not the record of an edit ({error}); choose another --out") from None
    return record


def require_safe(folder: Path, sources: Sequence[str], names: Mapping[str, str]) -> None:
    """Make sure that nothing is written over but earlier edits: no photograph, and no file of anything else.

    Raises:
        UserError: something else is there under a name that would be written.
    """
    originals = {os.path.realpath(source) for source in sources}
    for name in names.values():
        for ending in _ENDINGS[:-1]:
            path = folder / (name + ending)
            if os.path.realpath(path) in originals:
                raise UserError(f"{path}: is one of the pictures to edit, and would be replaced; choose another --out")
            if path.exists() and _edited_from(path) is None:
                raise UserError(f"{path}: is none of the files of an edit, and would be replaced; choose another --out")
    _listed(folder)


def _edited_from(path: Path) -> str | None:
    """Of what a picture says that it is an edit, as :func:`write_edit` makes them say; None if there is none, or it is none."""
    from PIL import Image

    try:
        with Image.open(path) as picture:
            return str(picture.info["Source"]) if "AI-generated" in picture.info else None
    except (OSError, ValueError, KeyError):
        return None


def write_edit(
    folder: Path,
    name: str,
    source: str,
    digest: str,
    edited: EditedFace,
    asked: Mapping[str, Any],
    *,
    mark: bool,
    named: bool = False,
) -> dict[str, Any]:
    """Write the picture, its proposals and strip, and the record (last: when it is there, everything is).

    ``mark`` is for the picture; what shows several says in its title what it is. ``named``: the PNGs say what the file of the
    original is called, which may be the name of a person, and not only its SHA-256.

    Returns:
        The record.
    """
    best = edited.edits[0]
    # Names of files on somebody's machine have no place in a picture that travels.
    settings = {key: value for key, value in asked.items() if key not in ("detector", "embedder", "judge")}
    texts = {
        "Emotion": describe(edited.request.emotion),
        "Seed": str(best.seed),
        "Encoder reading": describe(best.verdict.distribution),
        "Settings": json.dumps(settings),
        "Weights SHA-256": weights_text(edited.weights),
        "Source": f"{printable(Path(source).name)} (SHA-256 {digest})" if named else f"SHA-256 {digest}",
    }
    title = f"{describe(edited.request.emotion)} - AI-edited"
    labels = [f"seed {edit.seed}: {edit.verdict}" for edit in edited.edits]
    pngs = {
        f"{name}.png": png(edited.render(best), texts, kind="edited", mark=mark),
        f"{name}-proposals.png": _sheet(edited, edited.edits, labels, 5, title, texts | {"Seed": "below each"}),
    }
    if edited.strip:
        labels = [f"{edit.intensity:g}: {edit.verdict}" for edit in edited.strip]
        pngs[f"{name}-strip.png"] = _sheet(edited, edited.strip, labels, len(labels) + 1, title, texts)
    make_folder(folder)
    for file, data in pngs.items():
        atomic_write_bytes(folder / file, data)
    record = {
        **made_now(),
        "source": {"file": Path(source).name, "path_sha256": path_sha256(source), "sha256": digest},
        "asked": asked,
        "emotion": rounded(edited.request.emotion),
        "weights_sha256": edited.weights,
        "files": list(pngs),
        "box": list(edited.face.box),
        "tokens_drawn_anew": int(edited.tokens.sum()),
        "identity_measured_by": edited.embedder,
        "before": edit_record(edited.before),
        "proposals": [edit_record(edit) for edit in edited.edits],
        "strip": [edit_record(edit) for edit in edited.strip],
        "seconds": round(edited.seconds, 3),
    }
    atomic_write_text(folder / f"{name}.json", json.dumps(record, indent=2) + "\n")
    return record


def _sheet(
    edited: EditedFace, edits: Sequence[Edit], labels: Sequence[str], columns: int, title: str, texts: Mapping[str, str]
) -> bytes:
    """The face before and after, close up."""
    faces = [edited.close_up(edit, _TILE) for edit in (edited.before, *edits)]
    return png(sheet(faces, ["before", *labels], min(len(faces), columns), _TILE, title), texts, kind="edited")


def edit_record(edit: Edit) -> dict[str, Any]:
    """What was measured of one proposal."""
    identity = None if edit.identity is None else {"distance": round(edit.identity.distance, 4), "same": edit.identity.same}
    return {
        "seed": edit.seed,
        "intensity": edit.intensity,
        "match": round(edit.verdict.match, 4),
        "accepted": edit.verdict.accepted,
        "encoder": rounded(edit.verdict.distribution),
        "judge": None if edit.judged is None else rounded(edit.judged),
        "change": round(edit.change, 4),
        "upper": edit.upper,
        "identity": identity,
        "judge_feature_similarity": None if edit.judge_features is None else round(edit.judge_features, 4),
    }


def write_manifest(folder: Path, records: Sequence[Mapping[str, Any]], skipped: Sequence[str]) -> None:
    """One file that lists all pictures of the folder, those of earlier commands too, and what was skipped this time.

    Raises:
        UserError: a manifest of something else is there, or it cannot be written.
    """
    new = {record["files"][0] for record in records}
    earlier = [record for record in _listed(folder) if record["files"][0] not in new and (folder / record["files"][0]).is_file()]
    made = {**made_now(), "pictures": [*earlier, *records], "skipped": list(skipped)}
    atomic_write_text(folder / MANIFEST, json.dumps(made, indent=2) + "\n")


def _listed(folder: Path) -> list[dict[str, Any]]:
    """The records in the folder's manifest; none where there is no manifest."""
    path = folder / MANIFEST
    if not path.exists():
        return []
    try:
        pictures = parse_json(path.read_bytes(), str(path))["pictures"]
        if not all(isinstance(record["files"][0], str) for record in pictures):
            raise ValueError("a picture without files")
    except (OSError, ValueError, TypeError, LookupError, UserError):
        raise UserError(f"{path}: not the manifest of edits; choose another --out, or remove it") from None
    return list(pictures)
