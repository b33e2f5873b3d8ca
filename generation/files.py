"""Faces on disk: every file says that it is generated, and the manifest says how."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from configs.cli import UserError
from encoder.emotions import as_mapping, describe
from engine.storage.atomic import atomic_write_bytes, atomic_write_text, make_folder
from engine.storage.provenance import generator, png, weights_text
from generation.faces import Face, FaceBatch
from generation.request import FaceRequest
from generation.strip import FaceStrip

MANIFEST, SHEET, STRIP = "manifest.json", "contact_sheet.png", "strip.png"


def _texts(request: FaceRequest, weights: dict[str, str], emotion: str) -> dict[str, str]:
    settings = request.as_record()
    del settings["emotion"], settings["seed"], settings["count"]
    return {"Emotion": emotion, "Settings": json.dumps(settings), "Weights SHA-256": weights_text(weights)}


def _face_texts(face: Face) -> dict[str, str]:
    return {"Seed": str(face.seed), "Tries": str(face.tries), "Encoder reading": describe(face.verdict.distribution)}


def resized(image: np.ndarray, size: int | None) -> Any:
    """(S, S) uint8 as a PIL image, ``size`` pixels wide (Lanczos)."""
    from PIL import Image

    picture = Image.fromarray(image)
    return picture if size in (None, picture.width) else picture.resize((size, size), Image.Resampling.LANCZOS)


def face_png(face: Face, batch: FaceBatch, size: int | None = None, *, mark: bool = False) -> bytes:
    """One face as PNG with its provenance in the metadata; ``size`` resizes, ``mark`` draws the visible mark."""
    texts = _texts(batch.request, batch.weights, describe(batch.request.emotion))
    return png(resized(face.image, size), {**texts, **_face_texts(face)}, mark=mark)


def contactsheet(batch: FaceBatch, *, columns: int = 8, tile: int = 128) -> bytes:
    """All faces of a batch on one PNG, the reading under each."""
    faces = batch.faces
    columns = min(columns, max(len(faces), 1))
    title = describe(batch.request.emotion)
    labels = [f"{face.verdict.top.label} {face.verdict.distribution[face.verdict.top]:.2f}" for face in faces]
    made = sheet([face.image for face in faces], labels, columns, tile, f"{title} - AI-generated")
    return png(made, {**_texts(batch.request, batch.weights, title), "Seed": f"{batch.request.seed} and following"})


def stripsheet(strip: FaceStrip, *, tile: int = 128) -> bytes:
    """The rows of a strip on one PNG, the reading under each face."""
    faces = [face for row in strip.rows for face in row]
    labels = [f"{face.verdict.top.label} {face.verdict.distribution[face.verdict.top]:.2f}" for face in faces]
    made = sheet([face.image for face in faces], labels, len(strip.emotions), tile, f"{strip.path} - AI-generated")
    seeds = ", ".join(str(row[0].seed) for row in strip.rows)
    return png(made, {**_texts(strip.request, strip.weights, strip.path), "Seed": seeds})


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


def manifest(batch: FaceBatch, files: list[str]) -> dict[str, Any]:
    """Everything needed to make and to trust these faces again."""
    matches = [face.verdict.match for face in batch.faces]
    return {
        **_head(batch.request, batch.weights),
        "result": {
            "asked": batch.request.count,
            "accepted": len(batch.faces),
            "tried": batch.tried,
            "mean_match": round(float(np.mean(matches)), 4) if matches else None,
            "seconds": round(batch.seconds, 3),
        },
        "faces": [_face_record(name, face) for name, face in zip(files, batch.faces, strict=True)],
    }


def strip_manifest(strip: FaceStrip, files: list[str]) -> dict[str, Any]:
    """As :func:`manifest`, with what was asked of each face."""
    asked = [dict(as_mapping(emotion)) for emotion in strip.emotions] * len(strip.rows)
    faces = [face for row in strip.rows for face in row]
    records = [
        {**_face_record(name, face), "asked": {key: round(p, 4) for key, p in emotion.items()}, "accepted": face.verdict.accepted}
        for name, face, emotion in zip(files, faces, asked, strict=True)
    ]
    request = {**strip.request.as_record(), "strip": strip.path, "frames": len(strip.emotions)}
    del request["emotion"]
    return {
        **_head(strip.request, strip.weights),
        "request": request,
        "result": {
            "faces": len(faces),
            "accepted": sum(face.verdict.accepted for face in faces),
            "tried": strip.tried,
            "mean_match": round(float(np.mean([face.verdict.match for face in faces])), 4),
            "seconds": round(strip.seconds, 3),
        },
        "faces": records,
    }


def _head(request: FaceRequest, weights: dict[str, str]) -> dict[str, Any]:
    return {
        "generator": generator(),
        "ai_generated": True,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "request": request.as_record(),
        "weights_sha256": weights,
    }


def _face_record(name: str, face: Face) -> dict[str, Any]:
    return {
        "file": name,
        "seed": face.seed,
        "tries": face.tries,
        "match": round(face.verdict.match, 4),
        "top": face.verdict.top.label,
        "distribution": {key: round(p, 4) for key, p in as_mapping(face.verdict.distribution).items()},
    }


def require_free(folder: Path) -> None:
    """Refuse a folder that holds an earlier request's files.

    Raises:
        UserError: it does.
    """
    if (folder / MANIFEST).exists():
        raise UserError(f"{folder}: already holds {MANIFEST}; choose another --out, or remove it")


@contextmanager
def claimed_folder(folder: Path) -> Iterator[None]:
    """Make ``folder`` before the work, so that a place that cannot be used costs no drawing; removed if it stays empty.

    Raises:
        UserError: it cannot be made, or nothing may be written there.
    """
    new = not folder.exists()
    make_folder(folder)
    try:
        yield
    finally:
        if new:
            with suppress(OSError):  # not empty: something was written
                folder.rmdir()


def write_batch(batch: FaceBatch, folder: Path, *, size: int | None = None, mark: bool = False) -> list[Path]:
    """Write each face, the contact sheet and the manifest (last: when it is there, everything is).

    Raises:
        UserError: the folder holds an earlier request's files, or cannot be written.
    """
    require_free(folder)
    make_folder(folder)
    names = [f"{face.verdict.top.label}-{face.seed:06d}.png" for face in batch.faces]
    for name, face in zip(names, batch.faces, strict=True):
        atomic_write_bytes(folder / name, face_png(face, batch, size, mark=mark))
    sheets = [SHEET] if batch.faces else []
    for sheet in sheets:
        atomic_write_bytes(folder / sheet, contactsheet(batch))
    atomic_write_text(folder / MANIFEST, json.dumps(manifest(batch, names), indent=2) + "\n")
    return [folder / name for name in (*names, *sheets, MANIFEST)]


def write_strip(strip: FaceStrip, folder: Path, *, size: int | None = None, mark: bool = False) -> list[Path]:
    """Write each face of a strip as ``strip-SEED-COLUMN.png``, all of them on one sheet, and the manifest.

    Raises:
        UserError: as for :func:`write_batch`.
    """
    require_free(folder)
    make_folder(folder)
    names = []
    for row in strip.rows:
        for column, (face, emotion) in enumerate(zip(row, strip.emotions, strict=True)):
            names.append(f"strip-{face.seed:06d}-{column:02d}.png")
            texts = {**_texts(strip.request, strip.weights, describe(emotion)), **_face_texts(face), "Strip": strip.path}
            atomic_write_bytes(folder / names[-1], png(resized(face.image, size), texts, mark=mark))
    atomic_write_bytes(folder / STRIP, stripsheet(strip))
    atomic_write_text(folder / MANIFEST, json.dumps(strip_manifest(strip, names), indent=2) + "\n")
    return [folder / name for name in (*names, STRIP, MANIFEST)]
