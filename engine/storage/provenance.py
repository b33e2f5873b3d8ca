"""What every picture file says of itself: made or changed by a model, by which, how, and on request in plain sight."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

SOFTWARE = "Mimique"
MARK = "AI-generated"

# IPTC's terms for pictures made by a model, and for those that a model has had a part in (IPTC Photo Metadata 2023).
Kind = Literal["generated", "edited", "reconstructed", "paired", "drawn"]
_SOURCE_TYPES: dict[Kind, str] = {
    "generated": "trainedAlgorithmicMedia",
    "edited": "compositeWithTrainedAlgorithmicMedia",
    "reconstructed": "compositeWithTrainedAlgorithmicMedia",
    "paired": "compositeWithTrainedAlgorithmicMedia",
    "drawn": "algorithmicMedia",
}
_DESCRIPTIONS: dict[Kind, str] = {
    "generated": "AI-generated face. It shows no real person.",
    "edited": "Photograph changed by AI: the facial expression is AI-generated and was not the person's own.",
    "reconstructed": "Faces beside what a model made of them. The originals may show real persons.",
    "paired": "AI-generated faces beside photographs of real persons. Not to be published.",
    "drawn": "Face drawn by a program from facial action units. It shows no real person.",
}
_XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" Iptc4xmpExt:DigitalSourceType='
    '"http://cv.iptc.org/newscodes/digitalsourcetype/{}"/></rdf:RDF></x:xmpmeta>'
)


def version() -> str:
    """Version of this program; ``source checkout`` where it is not installed."""
    try:
        return metadata.version("mimique")
    except metadata.PackageNotFoundError:
        return "source checkout"


def generator() -> str:
    """Name and version of this program."""
    return f"{SOFTWARE} {version()}"


def weights_text(weights: Mapping[str, str]) -> str:
    """The SHA-256 of every weights file on one line."""
    return ", ".join(f"{part} {digest}" for part, digest in weights.items())


def marked(picture: Image, mark: str = MARK) -> Image:
    """A copy with a visible mark in its lower left corner, smaller on small pictures but always there."""
    from PIL import ImageDraw, ImageFont

    picture = picture.copy()
    draw = ImageDraw.Draw(picture, "RGBA" if picture.mode == "RGB" else None)
    font = ImageFont.load_default(max(9, min(picture.width, picture.height) // 18))
    text = mark if draw.textlength(mark, font) <= 0.9 * picture.width else "AI"
    left, top, right, bottom = draw.textbbox((0, 0), text, font)
    pad = max(1, (bottom - top) // 4)
    height = bottom - top + 2 * pad
    draw.rectangle((0, picture.height - height, right - left + 2 * pad, picture.height), fill="black")
    draw.text((pad - left, picture.height - height + pad - top), text, fill="white", font=font)
    return picture


def png(picture: Image | np.ndarray, texts: Mapping[str, str], *, kind: Kind = "generated", mark: bool = False) -> bytes:
    """A picture as PNG that says in its metadata what it is.

    Args:
        picture: a PIL image, or (H, W) or (H, W, 3) uint8.
        texts: further text chunks, such as emotion and seed.
        kind: what the picture shows: faces of a model, a photograph that it changed, faces beside
            reconstructions, or beside real ones; or a face that was drawn, by no model.
        mark: draw the visible mark, too.
    """
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    image = Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture
    info = PngInfo()
    info.add_text("Software", generator())
    info.add_text("Description", _DESCRIPTIONS[kind])
    # What formulas drew came from no model.
    info.add_text("AI-generated", "false" if kind == "drawn" else "true")
    for name, text in texts.items():
        info.add_text(name, text)
    info.add_itxt("XML:com.adobe.xmp", _XMP.format(_SOURCE_TYPES[kind]))
    buffer = io.BytesIO()
    (marked(image) if mark else image).save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def moving(pictures: Sequence[Image], milliseconds: Sequence[int], *, kind: Kind = "generated") -> bytes:
    """Pictures of one size as an animated WebP that runs for ever and says in its metadata what it is.

    Args:
        milliseconds: how long each is shown.
    """
    buffer = io.BytesIO()
    how: dict[str, Any] = {"save_all": True, "append_images": list(pictures[1:]), "duration": list(milliseconds), "loop": 0}
    pictures[0].save(buffer, "WEBP", quality=90, method=4, xmp=_XMP.format(_SOURCE_TYPES[kind]).encode(), **how)
    return buffer.getvalue()
