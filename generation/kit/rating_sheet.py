"""A page with which people rate the faces of a set: one file, no network, nothing leaves the browser but by their own hand."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from encoder.emotions import EMOTION_NAMES
from engine.storage.provenance import png

OTHER = "other"
ANSWERS = (*EMOTION_NAMES, OTHER)
INTENSITY, BELIEVABILITY = (1, 9), (1, 7)
# What a row of the ratings holds; eval.ratings reads it.
FIELDS = ("set", "rater", "position", "code", "emotion", "intensity", "believability", "seconds", "rated_at")
_TEMPLATES = Path(__file__).with_name("templates")


class Shown(NamedTuple):
    """One face of the page: what its ratings call it, and its (H, W) or (H, W, 3) pixels."""

    code: str
    image: NDArray[np.uint8]


def rating_sheet(faces: Sequence[Shown], name: str) -> str:
    """The page, as HTML. Each rater sees the faces in an order of their own, which their name and the set's decide.

    Args:
        name: of the set; it stands in every row, so that ratings of two sets are not mixed.
    """
    content: dict[str, Any] = {
        "set": name,
        "answers": ANSWERS,
        "scales": {"intensity": INTENSITY, "believability": BELIEVABILITY},
        "fields": FIELDS,
        # Without the texts of the PNG, which name the emotion.
        "faces": [{"code": face.code, "png": b64encode(png(face.image, {})).decode("ascii")} for face in faces],
    }
    return offline_page(_TEMPLATES / "rating.html", content)


def offline_page(template: Path, content: Mapping[str, Any]) -> str:
    """A page in one file that runs its own script and style only, and loads and sends nothing.

    Args:
        template: NAME.html of Jinja, beside NAME.js and NAME.css; a style other than the rating sheet's comes after that one.
        content: for the template, and as JSON for the script.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(template.parent), autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True
    )
    styles = dict.fromkeys((_TEMPLATES / "rating.css", template.with_suffix(".css")))
    style = "".join(path.read_text(encoding="utf-8") for path in styles)
    parts = {"script": template.with_suffix(".js").read_text(encoding="utf-8"), "style": style}
    allowed = {kind: b64encode(sha256(text.encode()).digest()).decode() for kind, text in parts.items()}
    return environment.get_template(template.name).render(content=content, allowed=allowed, **parts)
