"""Faces on disk: every file says that it is generated, and the manifest says how."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from configs.cli import UserError
from encoder.atomic import atomic_write_bytes, atomic_write_text
from encoder.emotions import as_mapping, describe
from generation.pipeline import Face, FaceBatch

SOFTWARE = "Mimique"
MANIFEST, SHEET = "manifest.json", "contact_sheet.png"

# IPTC's term for pictures made by a model, in the XMP packet that picture software reads (IPTC Photo Metadata 2023).
_XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" Iptc4xmpExt:DigitalSourceType='
    '"http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"/></rdf:RDF></x:xmpmeta>'
)


def _version() -> str:
    try:
        return metadata.version("mimique")
    except metadata.PackageNotFoundError:
        return "source checkout"


def face_png(face: Face, batch: FaceBatch, size: int | None = None) -> bytes:
    """One face as PNG with its provenance in the metadata; ``size`` resizes with Lanczos."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    picture = Image.fromarray(face.image)
    if size is not None and size != picture.width:
        picture = picture.resize((size, size), Image.Resampling.LANCZOS)
    info = PngInfo()
    info.add_text("Software", f"{SOFTWARE} {_version()}")
    info.add_text("Description", "AI-generated face. It shows no real person.")
    info.add_text("AI-generated", "true")
    info.add_text("Emotion", describe(batch.request.emotion))
    info.add_text("Seed", str(face.seed))
    info.add_text("Encoder reading", describe(face.verdict.distribution))
    info.add_itxt("XML:com.adobe.xmp", _XMP)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def contact_sheet(batch: FaceBatch, *, columns: int = 8, tile: int = 128) -> bytes:
    """All faces of a batch on one PNG, the match under each."""
    from PIL import Image, ImageDraw, ImageFont
    from PIL.PngImagePlugin import PngInfo

    count = max(len(batch.faces), 1)
    columns = min(columns, count)
    rows, margin, caption = -(-count // columns), 8, 18
    head = 34
    sheet = Image.new("L", (margin + columns * (tile + margin), head + rows * (tile + caption + margin)), 255)
    draw = ImageDraw.Draw(sheet)
    small = ImageFont.load_default(13)
    draw.text((margin, 8), f"{describe(batch.request.emotion)} - AI-generated", fill=0, font=ImageFont.load_default(16))
    for index, face in enumerate(batch.faces):
        x = margin + index % columns * (tile + margin)
        y = head + index // columns * (tile + caption + margin)
        sheet.paste(Image.fromarray(face.image).resize((tile, tile), Image.Resampling.BICUBIC), (x, y))
        label = f"{face.verdict.top.label} {face.verdict.distribution[face.verdict.top]:.2f}"
        draw.text((x + tile / 2, y + tile + 2), label, fill=60, font=small, anchor="ma")
    info = PngInfo()
    info.add_text("Software", f"{SOFTWARE} {_version()}")
    info.add_text("AI-generated", "true")
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def manifest(batch: FaceBatch, files: list[str]) -> dict[str, Any]:
    """Everything needed to make and to trust these faces again."""
    matches = [face.verdict.match for face in batch.faces]
    return {
        "generator": f"{SOFTWARE} {_version()}",
        "ai_generated": True,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "request": {**batch.request.model_dump(mode="json"), "emotion": dict(as_mapping(batch.request.emotion))},
        "weights_sha256": batch.weights,
        "result": {
            "asked": batch.request.count,
            "accepted": len(batch.faces),
            "tried": batch.tried,
            "mean_match": round(float(np.mean(matches)), 4) if matches else None,
            "seconds": round(batch.seconds, 3),
        },
        "faces": [
            {
                "file": name,
                "seed": face.seed,
                "tries": face.tries,
                "match": round(face.verdict.match, 4),
                "top": face.verdict.top.label,
                "distribution": {key: round(p, 4) for key, p in as_mapping(face.verdict.distribution).items()},
            }
            for name, face in zip(files, batch.faces, strict=True)
        ],
    }


def write_batch(batch: FaceBatch, folder: Path, *, size: int | None = None) -> list[Path]:
    """Write each face, the contact sheet and the manifest (last: when it is there, everything is).

    Raises:
        UserError: the folder holds an earlier request's files, or cannot be written.
    """
    if (folder / MANIFEST).exists():
        raise UserError(f"{folder}: already holds {MANIFEST}; choose another --out, or remove it")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: cannot be made: {error.strerror}") from error
    names = [f"{face.verdict.top.label}-{face.seed:06d}.png" for face in batch.faces]
    for name, face in zip(names, batch.faces, strict=True):
        atomic_write_bytes(folder / name, face_png(face, batch, size))
    sheets = [SHEET] if batch.faces else []
    for sheet in sheets:
        atomic_write_bytes(folder / sheet, contact_sheet(batch))
    atomic_write_text(folder / MANIFEST, json.dumps(manifest(batch, names), indent=2) + "\n")
    return [folder / name for name in (*names, *sheets, MANIFEST)]
