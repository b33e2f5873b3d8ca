"""Turn the bytes of one image file, from anywhere, into a square face, grey or in colour; or say why not."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from encoder.pictures.essentials import essentials

FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
MAX_BYTES = 32 * 2**20
MAX_PIXELS = 32 * 10**6  # well below Pillow's own limit, which stays on
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class BadImage(ValueError):
    """The bytes are no image that can be used; the message says why in a few words."""


def decode_face(data: bytes, size: int) -> NDArray[np.uint8]:
    """Decode one image to (size, size) uint8 grey.

    The camera's orientation tag is applied, transparency is laid over white, the central square is kept, and the result is
    resized with antialiasing. An image that is already ``size`` by ``size`` grey comes back bit for bit. Raises BadImage: too
    many bytes or pixels, another format than PNG, JPEG, WebP and BMP, truncated or corrupt.
    """
    with _opened(data) as (image, orientation):
        picture: Image.Image = image
        if image.mode != "L":
            picture = _to_grey(turned(image, orientation))
        elif image.format == "JPEG":
            picture = turned(image, orientation)
        return fit_square(picture, size)


def decode_colour_face(data: bytes, size: int) -> NDArray[np.uint8]:
    """As :func:`decode_face`, but (size, size, 3) uint8 red, green, blue."""
    return fit_square(_colour(data), size)


def decode_colour(data: bytes) -> NDArray[np.uint8]:
    """As :func:`decode_colour_face`, but whole and at its own size: (H, W, 3)."""
    return np.array(_colour(data))


def _colour(data: bytes) -> Image.Image:
    with _opened(data) as (image, orientation):
        return _over_white(turned(image, orientation)).convert("RGB")


@contextmanager
def _opened(data: bytes) -> Iterator[tuple[Image.Image, int]]:
    """The image in ``data``, of a fit size, and its orientation; errors of its decoder become :class:`BadImage`."""
    if not data:
        raise BadImage("the file is empty")
    if len(data) > MAX_BYTES:
        raise BadImage(f"{len(data) / 2**20:.0f} MiB, more than the {MAX_BYTES // 2**20} MiB allowed for one face")
    with decoding(f"not an image in one of the formats {', '.join(FORMATS)}"), warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        file = essentials(data)
        with Image.open(io.BytesIO(file.data), formats=FORMATS) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise BadImage(f"{width}x{height} pixels, more than the {MAX_PIXELS // 10**6} megapixels allowed for one face")
            yield image, file.orientation


@contextmanager
def decoding(unknown: str) -> Iterator[None]:
    """Turns what Pillow raises on bad files into :class:`BadImage`; ``unknown`` says what a file is that it does not know."""
    try:
        yield
    except BadImage:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise BadImage("its header announces a gigantic image (a decompression bomb?)") from None
    except UnidentifiedImageError:
        raise BadImage(unknown) from None
    except (OSError, ValueError, SyntaxError, EOFError, MemoryError, IndexError, OverflowError, TypeError, KeyError) as error:
        # What Pillow's decoders raise on damaged files; they promise no narrower set.
        raise BadImage(f"cannot be decoded ({' '.join(str(error).split()) or type(error).__name__})") from None


def turned(image: Image.Image, orientation: int) -> Image.Image:
    """The image with its right side up; ``orientation`` is 1 (as it is) to 8, as EXIF counts them."""
    return image if orientation == 1 else image.transpose(_TURNS[orientation])


def _to_grey(upright: Image.Image) -> Image.Image:
    if upright.mode.startswith("I"):
        # Pillow clips 16-bit grey to 255 on conversion; scaling keeps the picture.
        return Image.fromarray((np.asarray(upright).astype(np.int64).clip(0, 65535) >> 8).astype(np.uint8))
    return _over_white(upright).convert("L")


def _over_white(upright: Image.Image) -> Image.Image:
    if upright.mode in ("RGBA", "LA", "PA") or "transparency" in upright.info:
        white = Image.new("RGBA", upright.size, "white")
        return Image.alpha_composite(white, upright.convert("RGBA"))
    return upright


def fit_square(picture: Image.Image, size: int) -> NDArray[np.uint8]:
    """Central square of a grey or colour image, resized with antialiasing to (size, size) or (size, size, 3) uint8."""
    width, height = picture.size
    if (width, height) == (size, size):
        return np.array(picture, dtype=np.uint8)
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    box = (left, top, left + side, top + side)
    return np.array(picture.resize((size, size), Image.Resampling.LANCZOS, box=box), dtype=np.uint8)


def png_bytes(picture: NDArray[np.uint8]) -> bytes:
    """A (H, W) grey or (H, W, 3) red, green, blue uint8 picture as the bytes of a lossless PNG."""
    out = io.BytesIO()
    Image.fromarray(picture).save(out, format="PNG", optimize=True)
    return out.getvalue()
