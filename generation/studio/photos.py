"""A photograph on the page, its faces boxed; a click on a box chooses the face."""

from __future__ import annotations

import io
from collections.abc import Sequence
from html import escape
from typing import Any, NamedTuple

from PIL import Image

from generation.service.orders import ReadFace, ReadResult
from generation.service.settings import EngineSettings
from generation.service.uploads import given_picture
from generation.studio.cards import bars, data_uri
from generation.studio.texts import Texts

# Longest side of what the page shows of a photograph.
_SHOWN = 960


class Photo(NamedTuple):
    """A photograph in memory: the bytes of its file, a small JPEG to be shown, and its faces, the largest first."""

    data: bytes
    shown: str
    read: ReadResult

    @property
    def faces(self) -> list[ReadFace]:
        """Those that were found."""
        return [face for face in self.read.faces if face.problem is None]


def shown(data: Any, settings: EngineSettings) -> str:
    """A small JPEG of a picture as a data URI. Raises UserError: it cannot be read, or is too large."""
    picture = Image.fromarray(given_picture(data, settings).pixels)
    picture.thumbnail((_SHOWN, _SHOWN))
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=88)
    return data_uri(out.getvalue(), "image/jpeg")


def boxed(uri: str, faces: Sequence[ReadFace], size: tuple[int | None, int | None], t: Texts, chosen: int | None = None) -> str:
    """The picture with a box around each face. ``chosen``: number of the face that is chosen; None: none can be."""
    width, height = (float(side or 1) for side in size)
    boxes = []
    for number, face in enumerate(faces):
        if face.box is None:
            continue
        x, y, w, h = face.box
        where = (
            f"left:{100 * x / width:.2f}%;top:{100 * y / height:.2f}%;width:{100 * w / width:.2f}%;height:{100 * h / height:.2f}%"
        )
        read = said_of(face, t)
        label = escape(t("photo.face", number=number + 1, emotion=read), quote=True)
        if chosen is None:
            boxes.append(f'<span class="box" style="{where}" title="{label}"><b>{number + 1}</b></span>')
            continue
        pressed = "true" if number == chosen else "false"
        look = "box chosen" if number == chosen else "box"
        boxes.append(
            f'<button type="button" class="{look}" style="{where}" data-choose="{number}" aria-pressed="{pressed}" '
            f'aria-label="{label}"><b>{number + 1}</b></button>'
        )
    alt = escape(t("photo.alt", count=len(faces)), quote=True)
    return f'<div class="photo"><img src="{uri}" alt="{alt}">{"".join(boxes)}</div>'


def said_of(face: ReadFace, t: Texts) -> str:
    """``"fear 83 %"``."""
    if face.emotion is None or face.distribution is None:
        return "–"
    # The encoder that reads photographs knows contempt, too, which is no emotion of orders.
    name = t.words.get(f"emotion.{face.emotion}", face.emotion)
    return f"{name} {t.percent(face.distribution.get(face.emotion, 0.0))}"


def read_card(face: ReadFace, number: int, t: Texts) -> str:
    """What was read in one face, and, where it was asked for, what spoke for it."""
    why = ""
    if face.explained is not None:
        why = f'<img class="why" src="{data_uri(face.explained)}" alt="{escape(t("read.why"), quote=True)}">'
    head = f'<span class="head"><strong>{number + 1} · {escape(said_of(face, t))}</strong></span>'
    return f'<div class="face read">{why}{head}{bars(face.distribution or {}, t)}</div>'
