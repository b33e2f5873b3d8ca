"""Faces on disk: every file says that it is generated, and the manifest says how."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

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
    def interrupted(self) -> bool: ...
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


@runtime_checkable
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


def remove_former(folder: Path) -> None:
    """Take away the files of a manifest that is to be replaced, so that no face lies there that the new one does not list."""
    try:
        listed = json.loads((folder / MANIFEST).read_bytes())["faces"]
        names = [str(entry["file"]) for entry in listed]
    except (OSError, ValueError, KeyError, TypeError):  # none, or not one of ours
        return
    for name in (MANIFEST, SHEET, STRIP, *(name for name in names if Path(name).name == name)):
        (folder / name).unlink(missing_ok=True)


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
    result |= {"interrupted": True} if made.interrupted else {}
    import torch

    # Sums in another order differ in their last bits, which may move a pixel by one grey level.
    environment = {"torch": torch.__version__, "threads": torch.get_num_threads()}
    about = {"request": request, "weights_sha256": made.weights, "environment": environment}
    return {**made_now(), **about, "result": result, "faces": faces}


def _record(name: str, face: Face) -> dict[str, Any]:
    return {"file": name, **face.as_record()}


def _refused(face: Face) -> dict[str, str]:
    return {} if face.refused is None else {"refused_by": face.refused}


class FaceWriter:
    """Writes faces as they are accepted, so that whoever is stopped has them; at the end the sheet and the manifest.

    Args:
        asked: what is being made, as yet without faces; ``folder``: for the files, made with the first of them.
        size, mark: as for :func:`face_png`.
    """

    def __init__(self, asked: Faces, folder: Path, *, size: int | None = None, mark: bool = False) -> None:
        self._asked, self._folder, self._size, self._mark = asked, folder, size, mark
        self._written: dict[tuple[int, int], tuple[Face, str]] = {}

    def add(self, face: Face, column: int = 0, prefix: str = "") -> str:
        """Write a face, once, in the place of an earlier one of its seed (and column of a strip); its file's name.

        Raises:
            UserError: the folder cannot be written.
        """
        asked, place = self._asked, (face.seed, column)
        former, old = self._written.get(place, (None, None))
        if former is face and old is not None:
            return old
        if isinstance(asked, FaceStrip):
            name, emotion, texts = f"strip-{face.seed:06d}-{column:02d}.png", asked.emotions[column], {"Strip": asked.path}
        else:
            name, texts = f"{prefix}{face.verdict.top.label}-{face.seed:06d}.png", {}
            emotion = face.asked or asked.request.emotion
        make_folder(self._folder)
        png = face_png(face, asked, emotion, self._size, mark=self._mark, **texts)
        atomic_write_bytes(self._folder / name, png)
        if old not in (None, name):
            (self._folder / str(old)).unlink(missing_ok=True)
        self._written[place] = (face, name)
        return name

    def add_row(self, row: Sequence[Face]) -> None:
        """Write a row of a strip."""
        for column, face in enumerate(row):
            self.add(face, column)

    def finish(self, made: FaceBatch | FaceStrip) -> dict[str, Any]:
        """Write the faces of ``made`` that are not written yet, the contact sheet and the manifest, which is returned.

        The manifest comes last: when it is there, everything is.
        """
        make_folder(self._folder)
        strip = isinstance(made, FaceStrip)
        content = self._strip_manifest(made) if isinstance(made, FaceStrip) else self._batch_manifest(made)
        # What was done to the pictures after they were made: None is the side that they were painted with.
        content["pictures"] = {"size": self._size, "mark": self._mark}
        if made.faces:
            atomic_write_bytes(self._folder / (STRIP if strip else SHEET), face_sheet(made))
        atomic_write_text(self._folder / MANIFEST, json.dumps(content, indent=2) + "\n")
        return content

    def _batch_manifest(self, made: FaceBatch) -> dict[str, Any]:
        """With what was asked of each face, where they were not all asked for alike."""
        names = [(face.verdict.top, face.seed) for face in made.faces]
        # Seeds that were given one by one may come twice.
        twice = len(set(names)) < len(names)
        records = [
            _record(self.add(face, number, f"{number:04d}-") if twice else self.add(face), face)
            for number, face in enumerate(made.faces)
        ]
        request = made.request.as_record()
        if made.asked is not None:
            request["emotion"] = [rounded(emotion) for emotion in made.asked]
            for record, face in zip(records, made.faces, strict=True):
                record["asked"] = rounded(face.asked or made.request.emotion)
        if made.seeds is not None:
            request["seed"] = list(made.seeds)
        count = {"asked": made.request.count, "accepted": len(made.faces)}
        return _manifest(made, request, count, records, refused=dict(made.refused))

    def _strip_manifest(self, made: FaceStrip) -> dict[str, Any]:
        """With what was asked of each face."""
        records = []
        for row in made.rows:
            for column, (face, emotion) in enumerate(zip(row, made.emotions, strict=True)):
                record = _record(self.add(face, column), face)
                records.append({**record, "asked": rounded(emotion), "accepted": face.accepted, **_refused(face)})
        request = {**made.request.as_record(), "strip": made.path, "frames": len(made.emotions)}
        del request["emotion"]
        count = {"faces": len(records), "accepted": sum(face.accepted for face in made.faces)}
        return _manifest(made, request, count, records)


def write_faces(made: FaceBatch | FaceStrip, folder: Path, *, size: int | None = None, mark: bool = False) -> dict[str, Any]:
    """Write each face, the contact sheet and the manifest, which is returned. Faces of a strip are ``strip-SEED-COLUMN.png``.

    Raises:
        UserError: the folder cannot be written.
    """
    return FaceWriter(made, folder, size=size, mark=mark).finish(made)
