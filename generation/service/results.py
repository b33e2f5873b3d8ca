"""From what was drawn, edited and read to what a client gets: plain values and PNGs that say what they are."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np

from encoder.analysis.analyzer import Reading
from encoder.emotions import as_mapping, describe
from engine.storage.provenance import marked, png, weights_text
from generation.editing.face import EditedFace
from generation.editing.proposals import Edit
from generation.faces import Face, FaceBatch
from generation.files import face_png
from generation.service.orders import EditResult, FacesResult, MadeFace, Proposal, ReadFace
from generation.verify import rounded

# Stands in a corner of photographs that were changed.
EDITED = "AI-edited"
_CLOSE_UP = 256


def made_face(face: Face, batch: FaceBatch, mark: bool) -> MadeFace:
    """A face of a batch, with its file."""
    asked = face.asked or batch.request.emotion
    return MadeFace(
        png=face_png(face, batch, asked, mark=mark),
        seed=face.seed,
        tries=face.tries,
        top=face.verdict.top.label,
        match=round(face.verdict.match, 4),
        distribution=rounded(face.verdict.distribution),
        accepted=face.accepted,
        refused=face.refused,
        realism=None if face.realism is None else round(face.realism, 4),
        seen=None if face.seen is None else face.seen.as_record(),
        told=dict(face.told),
        asked=rounded(asked),
    )


def faces_result(batch: FaceBatch, again: tuple[str, str], *, verified: bool, mark: bool) -> FacesResult:
    """A batch as it is delivered."""
    return FacesResult(
        command=again[0],
        python=again[1],
        seconds=round(batch.seconds, 3),
        faces=tuple(made_face(face, batch, mark) for face in batch),
        asked=batch.request.count,
        tried=batch.tried,
        complete=batch.complete,
        verified=verified,
        refused={str(cause): count for cause, count in batch.refused.items()},
        weights=dict(batch.weights),
    )


def edit_result(
    edited: EditedFace, again: tuple[str, str], seconds: float, scale: float, every: bool, *, mark: bool
) -> EditResult:
    """An edit as it is delivered. ``scale``: pixels of the file for one of the picture; ``every``: all as whole pictures."""
    x, y, width, height = (round(value * scale) for value in edited.face.box)
    best = edited.edits[0]
    return EditResult(
        asked=rounded(edited.request.emotion),
        command=again[0],
        python=again[1],
        seconds=round(seconds, 3),
        before=_proposal(edited, edited.before, whole=False, mark=False),
        proposals=tuple(_proposal(edited, edit, whole=every or edit is best, mark=mark) for edit in edited.edits),
        box=(x, y, width, height),
        weights=dict(edited.weights),
    )


def _proposal(edited: EditedFace, edit: Edit, *, whole: bool, mark: bool) -> Proposal:
    """A proposal, or the face as it was, with its pictures; ``whole``: that of the whole photograph, too."""
    return Proposal(
        png=_edited_png(edited.render(edit), edited, edit, mark) if whole else None,
        close_up=_edited_png(edited.close_up(edit, _CLOSE_UP), edited, edit, mark),
        seed=edit.seed,
        intensity=edit.intensity,
        top=edit.verdict.top.label,
        match=round(edit.verdict.match, 4),
        accepted=edit.verdict.accepted,
        distribution=rounded(edit.verdict.distribution),
        judge=None if edit.judged is None else rounded(edit.judged),
        similarity=None if edit.judge_features is None else round(edit.judge_features, 4),
        same_person=None if edit.identity is None else edit.identity.same,
        identity_distance=None if edit.identity is None else round(edit.identity.distance, 4),
        change=round(edit.change, 4),
    )


def _edited_png(pixels: Any, edited: EditedFace, edit: Edit, mark: bool) -> bytes:
    from PIL import Image

    picture = Image.fromarray(pixels)
    if edit is edited.before:
        return _plain_png(picture)
    texts = {
        "Emotion": describe(edited.request.emotion),
        "Seed": str(edit.seed),
        "Encoder reading": describe(edit.verdict.distribution),
        "Weights SHA-256": weights_text(edited.weights),
    }
    return png(marked(picture, EDITED) if mark else picture, texts, kind="edited")


def _plain_png(picture: Any) -> bytes:
    out = io.BytesIO()
    picture.save(out, format="PNG")
    return out.getvalue()


def read_faces(reading: Reading) -> list[ReadFace]:
    """The faces of one picture or frame."""
    found = []
    for number, row in enumerate(reading.rows):
        shown: Mapping[str, float] | None = None if row.distribution is None else as_mapping(row.distribution)
        found.append(
            ReadFace(
                frame=row.frame,
                time=None if row.time is None else round(row.time, 4),
                face=row.face,
                box=row.box,
                score=None if row.score is None else round(float(row.score), 4),
                emotion=row.emotion,
                distribution=None if shown is None else {name: round(float(p), 6) for name, p in shown.items()},
                whole_picture=row.whole_picture,
                explained=_plain_png(_image(reading.overlays[number])) if number < len(reading.overlays) else None,
                problem=row.problem,
            )
        )
    return found


def _image(pixels: np.ndarray) -> Any:
    from PIL import Image

    return Image.fromarray(pixels)
