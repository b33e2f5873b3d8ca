"""Faces on disk: every file says that it is generated, and the manifest says how."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from encoder.emotions import describe
from engine.storage.atomic import atomic_write_bytes, atomic_write_text, make_folder
from engine.storage.provenance import generator, png, weights_text
from generation.faces import Face, FaceBatch
from generation.strip import FaceStrip
from generation.verify import rounded

MANIFEST, SHEET, STRIP = "manifest.json", "contact_sheet.png", "strip.png"


def made_now() -> dict[str, Any]:
    """How every manifest begins."""
    return {"generator": generator(), "ai_generated": True, "created": datetime.now(UTC).isoformat(timespec="seconds")}


def remove_former(folder: Path) -> None:
    """Take away the files of a manifest that is to be replaced, so that no face lies there that the new one does not list."""
    try:
        listed = json.loads((folder / MANIFEST).read_bytes())["faces"]
        names = [str(entry["file"]) for entry in listed]
    except (OSError, ValueError, KeyError, TypeError):  # none, or not one of ours
        return
    for name in (MANIFEST, SHEET, STRIP, *(name for name in names if Path(name).name == name)):
        (folder / name).unlink(missing_ok=True)


def _texts(made: FaceBatch, emotion: str) -> dict[str, str]:
    settings = made.request.as_record()
    del settings["emotion"], settings["seed"], settings["count"]
    return {"Emotion": emotion, "Settings": json.dumps(settings), "Weights SHA-256": weights_text(made.weights)}


def face_png(
    face: Face,
    made: FaceBatch,
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


def face_sheet(made: FaceBatch) -> bytes:
    """All faces of a batch or a strip on one PNG, the reading under each."""
    if isinstance(made, FaceStrip):
        columns, title = len(made.emotions), made.path
        seeds = ", ".join(str(row[0].seed) for row in made.rows)
    else:
        columns, title = min(8, max(len(made.faces), 1)), describe(made.request.emotion)
        seeds = f"{made.request.seed} and following"
    labels = [str(face.verdict) for face in made.faces]
    picture = sheet([face.image for face in made.faces], labels, columns, 128, f"{title} - AI-generated")
    return png(picture, {**_texts(made, title), "Seed": seeds})


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


def _manifest(made: FaceBatch, request: dict[str, Any], count: dict[str, int], faces: list[dict[str, Any]]) -> Any:
    """Everything needed to make and to trust these faces again."""
    matches = [face.verdict.match for face in made.faces]
    mean = round(float(np.mean(matches)), 4) if matches else None
    by = {} if isinstance(made, FaceStrip) else {"refused": dict(made.refused)}
    result = {**count, "tried": made.tried, **by, "mean_match": mean, "seconds": round(made.seconds, 3)}
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
    pngs = (face_png(face, batch, batch.request.emotion, size, mark=mark) for face in batch.faces)
    records = [_record(name, face) for name, face in zip(names, batch.faces, strict=True)]
    count = {"asked": batch.request.count, "accepted": len(batch.faces)}
    made = _manifest(batch, batch.request.as_record(), count, records)
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
