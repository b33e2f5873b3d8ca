"""Gradio's components, where pictures shall not lie in files: uploads as they are sent, results within the page."""

from __future__ import annotations

from abc import ABCMeta
from base64 import b64decode
from typing import Any

import gradio as gr
from gradio.components.imageslider import SliderData
from gradio.data_classes import ImageData

from configs.cli import UserError
from generation.studio.cards import data_uri
from generation.studio.files import Files

# What the browser's camera sends is a picture of a few megapixels at most.
_CAMERA_BYTES = 16 * 2**20


def _unopened(_self: Any, payload: Any) -> str | bytes | None:
    """Decoding is left to the bounded readers."""
    if payload is None:
        return None
    return within(payload.url) if (payload.url or "").startswith("data:") else payload.path


def _places(_self: Any, payload: Any) -> list[str]:
    """No second file is made of an upload."""
    return [] if payload is None else [each.path for each in getattr(payload, "root", [payload])]


def _in_the_page(_self: Any, value: tuple[bytes, bytes] | None) -> SliderData | None:
    """No file is written."""
    return None if value is None else SliderData(root=(ImageData(url=data_uri(value[0])), ImageData(url=data_uri(value[1]))))


def _kind_of(base: Any, **methods: Any) -> Any:
    """A component that differs in these methods. For one made by a class statement Gradio writes a file beside the source."""
    own = {"__module__": __name__, "get_block_name": lambda _self: base.__name__.lower(), **methods}
    return ABCMeta.__new__(type(base), f"Photo{base.__name__}", (base,), own)


# A picture from a file, the clipboard or the camera: where its file is, or its bytes. Gradio does not open it.
PhotoIn = _kind_of(gr.Image, preprocess=_unopened)
# Several files: where they are.
FilesIn = _kind_of(gr.File, preprocess=_places)
# Two pictures, given as the bytes of PNGs, that stand in the page itself.
PhotoSlider = _kind_of(gr.ImageSlider, postprocess=_in_the_page)


def within(uri: str) -> bytes:
    """The bytes of a data URI. Raises UserError: it is none, or too large."""
    head, _, content = uri.partition(",")
    if not head.endswith(";base64") or len(content) > 2 * _CAMERA_BYTES:
        raise UserError("the picture cannot be read; send it again")
    try:
        return b64decode(content, validate=True)
    except ValueError:
        raise UserError("the picture cannot be read; send it again") from None


def photo_bytes(files: Files, given: str | bytes | None, most: int) -> bytes:
    """An upload's bytes, whose file is deleted. Raises UserError: there is none, or it is too large."""
    return given if isinstance(given, bytes) else files.take(given, most)
