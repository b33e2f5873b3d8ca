"""Faces on disk: every file says that it is generated, and the manifest says how."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from encoder.emotions import describe
from engine.storage.atomic import atomic_write_bytes, atomic_write_text, make_folder
from engine.storage.provenance import generator, png, weights_text
from generation.request import FaceRequest
from generation.verify import Cause, Verdict, rounded

MANIFEST, SHEET, STRIP = "manifest.json", "contact_sheet.png", "strip.png"


class Face(Protocol):
    """What is written of a :class:`generation.faces.Face`."""

    @property
    def image(self) -> np.ndarray: ...
    @property
    def seed(self) -> int: ...
    @property
    def tries(self) -> int: ...
    @property
    def verdict(self) -> Verdict: ...
    @property
    def told(self) -> Mapping[str, str | None]: ...
    @property
    def refused(self) -> Cause | None: ...
    @property
    def asked(self) -> tuple[float, ...] | None: ...
    @property
    def accepted(self) -> bool: ...
    def as_record(self) -> dict[str, Any]: ...


class Faces(Protocol):
    """What is written of a :class:`generation.faces.FaceBatch`, a strip or not."""

    @property
    def request(self) -> FaceRequest: ...
    @property
    def faces(self) -> Sequence[Face]: ...
    @property
    def tried(self) -> int: ...
    @property
    def seconds(self) -> float: ...
    @property
    def weights(self) -> dict[str, str]: ...
    @property
    def title(self) -> str: ...
    @property
    def columns(self) -> int: ...


class FaceBatch(Faces, Protocol):
    """And of one that is no strip."""

    @property
    def refused(self) -> Mapping[Cause, int]: ...
    @property
    def asked(self) -> Sequence[Sequence[float]] | None: ...
    @property
    def seeds(self) -> Sequence[int] | None: ...


class FaceStrip(Faces, Protocol):
    """And of a :class:`generation.strip.FaceStrip`."""

    @property
    def rows(self) -> Sequence[Sequence[Face]]: ...
    @property
    def path(self) -> str: ...
    @property
    def emotions(self) -> Sequence[Sequence[float]]: ...


def made_now() -> dict[str, Any]:
    """How every manifest begins."""
    return {"generator": generator(), "ai_generated": True, "created": datetime.now(UTC).isoformat(timespec="seconds")}


def _texts(made: Faces, emotion: str) -> dict[str, str]:
    settings = made.request.as_record()
    del settings["emotion"], settings["seed"], settings["count"]
    return {"Emotion": emotion, "Settings": json.dumps(settings), "Weights SHA-256": weights_text(made.weights)}


def face_png(
    face: Face,
    made: Faces,
    emotion: Sequence[float],
    size: int | None = None,
    *,
    mark: bool = False,
    **texts: str,
) -> bytes:
    """One face as PNG with its provenance in the metadata.

    Args:
        emotion: that was asked of it.
        size: side in pixels; the face is resized to it (Lanczos). mark: draw the visible mark.
        texts: further chunks of text.
    """
    from PIL import Image

    picture = Image.fromarray(face.image)
    if size not in (None, picture.width):
        picture = picture.resize((size, size), Image.Resampling.LANCZOS)
    own = {"Seed": str(face.seed), "Tries": str(face.tries), "Encoder reading": describe(face.verdict.distribution)}
    if face.told:
        own["Told"] = ", ".join(f"{name} {value or 'nothing'}" for name, value in face.told.items())
    return png(picture, {**_texts(made, describe(emotion)), **own, **texts}, mark=mark)


def face_sheet(made: Faces) -> bytes:
    """All faces of a batch or a strip on one PNG, the reading under each."""
    labels = [str(face.verdict) for face in made.faces]
    picture = sheet([face.image for face in made.faces], labels, made.columns, 128, f"{made.title} - AI-generated")
    every = list(dict.fromkeys(str(face.seed) for face in made.faces))
    seeds = ", ".join(every) if len(every) <= 64 else f"{every[0]} to {every[-1]}"
    return png(picture, {**_texts(made, made.title), "Seed": seeds})


def sheet(images: list[np.ndarray], labels: list[str], columns: int, tile: int, title: str) -> Any:
    """Pictures (H, W) or (H, W, 3) in rows of ``columns``, each fitted into ``tile`` pixels over its label; a PIL image."""
    from PIL import Image, ImageDraw, ImageFont

    rows, margin, caption, head = -(-max(len(images), 1) // columns), 8, 18, 34
    size = (margin + columns * (tile + margin), head + rows * (tile + caption + margin))
    colour = any(image.ndim == 3 for image in images)
    made = Image.new("RGB" if colour else "L", size, "white")
    draw = ImageDraw.Draw(made)
    small, ink = ImageFont.load_default(13), "#3c3c3c"
    draw.text((margin, 8), title, fill="black", font=ImageFont.load_default(16))
    for index, (image, label) in enumerate(zip(images, labels, strict=True)):
        x = margin + index % columns * (tile + margin)
        y = head + index // columns * (tile + caption + margin)
        shrink = tile / max(image.shape[:2])
        fitted = round(image.shape[1] * shrink), round(image.shape[0] * shrink)
        made.paste(Image.fromarray(image).resize(fitted, Image.Resampling.BICUBIC), (x, y))
        draw.text((x + tile / 2, y + tile + 2), label, fill=ink, font=small, anchor="ma")
    return made


def _manifest(
    made: Faces, request: dict[str, Any], count: dict[str, int], faces: list[dict[str, Any]], **further: Any
) -> dict[str, Any]:
    """Everything needed to make and to trust these faces again."""
    matches = [face.verdict.match for face in made.faces]
    mean = round(float(np.mean(matches)), 4) if matches else None
    result = {**count, "tried": made.tried, **further, "mean_match": mean, "seconds": round(made.seconds, 3)}
    return {**made_now(), "request": request, "weights_sha256": made.weights, "result": result, "faces": faces}


def _record(name: str, face: Face) -> dict[str, Any]:
    return {"file": name, **face.as_record()}


def _refused(face: Face) -> dict[str, str]:
    return {} if face.refused is None else {"refused_by": face.refused}


def write_batch(batch: FaceBatch, folder: Path, *, size: int | None = None, mark: bool = False) -> dict[str, Any]:
    """Write each face, the contact sheet and the manifest, which is returned.

    Raises:
        UserError: the folder cannot be written.
    """
    names = [f"{face.verdict.top.label}-{face.seed:06d}.png" for face in batch.faces]
    if len(set(names)) < len(names):
        names = [f"{number:04d}-{name}" for number, name in enumerate(names)]
    pngs = (face_png(face, batch, face.asked or batch.request.emotion, size, mark=mark) for face in batch.faces)
    records = [_record(name, face) for name, face in zip(names, batch.faces, strict=True)]
    request = batch.request.as_record()
    if batch.asked is not None:
        request["emotion"] = [rounded(emotion) for emotion in batch.asked]
        for record, face in zip(records, batch.faces, strict=True):
            record["asked"] = rounded(face.asked or batch.request.emotion)
    if batch.seeds is not None:
        request["seed"] = list(batch.seeds)
    count = {"asked": batch.request.count, "accepted": len(batch.faces)}
    made = _manifest(batch, request, count, records, refused=dict(batch.refused))
    return _write(folder, zip(names, pngs, strict=True), {SHEET: face_sheet(batch)} if batch.faces else {}, made)


def write_strip(strip: FaceStrip, folder: Path, *, size: int | None = None, mark: bool = False) -> dict[str, Any]:
    """As :func:`write_batch`, with what was asked of each face; they are called ``strip-SEED-COLUMN.png``."""
    asked = [(column, emotion) for _ in strip.rows for column, emotion in enumerate(strip.emotions)]
    names = [f"strip-{face.seed:06d}-{column:02d}.png" for face, (column, _) in zip(strip.faces, asked, strict=True)]
    pngs = (
        face_png(face, strip, emotion, size, mark=mark, Strip=strip.path)
        for face, (_, emotion) in zip(strip.faces, asked, strict=True)
    )
    records = [
        {**_record(name, face), "asked": rounded(emotion), "accepted": face.accepted, **_refused(face)}
        for name, face, (_, emotion) in zip(names, strip.faces, asked, strict=True)
    ]
    request = {**strip.request.as_record(), "strip": strip.path, "frames": len(strip.emotions)}
    del request["emotion"]
    count = {"faces": len(records), "accepted": sum(face.accepted for face in strip.faces)}
    made = _manifest(strip, request, count, records)
    return _write(folder, zip(names, pngs, strict=True), {STRIP: face_sheet(strip)}, made)


def _write(
    folder: Path, faces: Iterable[tuple[str, bytes]], sheets: dict[str, bytes], manifest: dict[str, Any]
) -> dict[str, Any]:
    """The manifest comes last: when it is there, everything is."""
    make_folder(folder)
    for name, data in chain(faces, sheets.items()):
        atomic_write_bytes(folder / name, data)
    atomic_write_text(folder / MANIFEST, json.dumps(manifest, indent=2) + "\n")
    return manifest
