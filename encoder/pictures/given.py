"""Pictures in every form in which people hold them: names, bytes, PIL images, arrays, tensors, and many of them at once."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from configs.cli import UserError
from encoder.pictures.face_images import BadImage, decoding
from encoder.pictures.pictures import MAX_BYTES, Picture, decode_picture, read_picture
from encoder.pictures.sources import View
from engine.storage.stored_files import StoredFile, is_url

FORMS = "a path or URL, a file or its bytes, a PIL image, or an array or tensor (H, W), (H, W, 3) or (3, H, W)"


def picture_of(given: Any) -> Picture:
    """One picture.

    Args:
        given: a path or URL; a file opened as binary, or its bytes; a PIL image; or an array or tensor, grey (H, W), (H, W, 1)
            or (1, H, W), or RGB (H, W, 3) or (3, H, W), uint8 or floats in [0, 1].

    Raises:
        UserError: something else, or a URL that cannot be read. BadImage: a file or its bytes cannot be read as a picture.
    """
    if isinstance(given, Picture):
        return given
    if isinstance(given, str | Path):
        name = str(given)
        if not is_url(name):
            return read_picture(given)
        with StoredFile(name) as stream:
            return decode_picture(stream.read(MAX_BYTES + 1))
    if isinstance(given, bytes | bytearray | memoryview):
        return decode_picture(bytes(given))
    if isinstance(given, Image.Image):
        return decode_picture(_png(given))
    if hasattr(given, "read"):
        return decode_picture(given.read(MAX_BYTES + 1))
    if not _has_pixels(given):
        raise UserError(f"picture: cannot read {type(given).__name__}; give {FORMS}")
    pixels = _rgb(_array(given))
    return Picture(pixels, pixels.shape[1], pixels.shape[0])


def each_picture(given: Any) -> Iterator[Any]:
    """What :func:`picture_of` takes, one after the other: one picture itself, else those of a list, generator, Series or stack.

    A stack is an array or tensor (N, H, W), (N, H, W, 3) or (N, 3, H, W).

    Raises:
        UserError: nothing of that, a table, or a mapping.
    """
    if isinstance(given, str | Path | bytes | bytearray | memoryview | Image.Image | Picture) or hasattr(given, "read"):
        yield given
    elif _has_pixels(given):
        stacked = given.ndim == 4 or (given.ndim == 3 and not {1, 3} & {given.shape[0], given.shape[2]})
        yield from given if stacked else [given]
    elif isinstance(given, Mapping) or hasattr(given, "columns"):
        raise UserError(f"pictures: {type(given).__name__} has several columns; give one of them, or a list")
    elif isinstance(given, Iterable):
        yield from given
    else:
        raise UserError(f"pictures: cannot read {type(given).__name__}; give {FORMS}; or several of them")


def view_given(given: Any, number: int) -> View:
    """One picture that is no name, as a view called ``array:NUMBER`` and the like; bytes that are none give one that says so.

    Raises:
        UserError: no picture in any of the forms.
    """
    kind = "image" if isinstance(given, Image.Image) else "array" if _has_pixels(given) else "bytes"
    source = str(getattr(given, "filename", "") or f"{kind}:{number}")
    try:
        return View(source, picture=picture_of(given))
    except BadImage as error:
        return View(source, problem=str(error))
    except UserError as error:
        raise UserError(f"{kind} {number}: {error}" if kind == "array" else f"picture {number}: {error}") from None


def _png(image: Image.Image) -> bytes:
    """The file that a PIL image would be saved as, so that size, orientation and transparency are treated as those of files."""
    if image.mode == "F":
        raise BadImage("its grey levels are floating-point numbers of unknown range; give an array of floats in [0, 1]")
    known = image.mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I", "I;16")
    out = io.BytesIO()
    with decoding("its pixels cannot be had"):
        plain = image if known else image.convert("RGBA" if image.mode in ("PA", "La", "RGBa") else "RGB")
        plain.save(out, format="PNG", compress_level=0, exif=image.getexif())
    return out.getvalue()


def _has_pixels(given: Any) -> bool:
    """Whether it is an array or a tensor of two axes or more; a Series has one, and a column of paths is no picture."""
    return hasattr(given, "shape") and hasattr(given, "dtype") and len(given.shape) >= 2


def _array(given: Any) -> NDArray[Any]:
    return np.asarray(given.detach().cpu() if hasattr(given, "detach") else given)


def _rgb(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 of any array that is a picture."""
    if pixels.ndim == 3 and pixels.shape[2] not in (1, 3) and pixels.shape[0] in (1, 3):
        pixels = pixels.transpose(1, 2, 0)
    grey = pixels[..., None] if pixels.ndim == 2 else pixels
    plain = pixels.dtype == np.uint8 or pixels.dtype.kind == "f"
    if not plain or grey.ndim != 3 or grey.shape[2] not in (1, 3) or not grey.size:
        raise UserError(
            f"need (H, W, 3) RGB or (H, W) grey in uint8, or floats in [0, 1], got {pixels.dtype} of shape {pixels.shape}"
        )
    if grey.dtype != np.uint8:
        low, high = float(grey.min()), float(grey.max())
        if not (low >= -1e-3 and high <= 1.0 + 1e-3):
            raise UserError(f"floats must lie in [0, 1], got {low:.3g} to {high:.3g}; pass uint8 for 0 to 255")
        grey = (grey.clip(0.0, 1.0) * 255.0).round().astype(np.uint8)
    return np.ascontiguousarray(grey if grey.shape[2] == 3 else np.repeat(grey, 3, axis=2))
