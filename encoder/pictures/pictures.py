"""Pictures from disk for face detection: any size, any orientation, colour; memory stays bounded whatever the file says."""

from __future__ import annotations

import io
import os
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps, JpegImagePlugin

from encoder.pictures.face_images import FORMATS, BadImage, decoding

PICTURE_FORMATS = (*FORMATS, "GIF", "TIFF")
# First bytes of each format; TIFF has two byte orders.
_SIGNATURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*")

MAX_BYTES = 256 * 2**20
# Decoding so many takes up to 0.9 GB for a moment (WebP). A larger JPEG is decoded at 1/2, 1/4 or 1/8 of its size.
MAX_DECODED_PIXELS = 50 * 10**6
MAX_JPEG_PIXELS = 600 * 10**6
# What is kept of a picture; detectors search at less.
MAX_KEPT_PIXELS = 24 * 10**6


@dataclass(frozen=True, eq=False)
class Picture:
    """A decoded picture.

    Attributes:
        pixels: (H, W, 3) uint8 RGB, upright, transparency laid over white.
        width, height: size of the picture in the file, upright; larger than ``pixels`` where that was reduced.
    """

    pixels: NDArray[np.uint8]
    width: int
    height: int

    @property
    def scale(self) -> float:
        """Pixels in the file for one in ``pixels``."""
        return self.width / self.pixels.shape[1]


def looks_like_picture(start: bytes) -> bool:
    """Whether a file beginning with these bytes is in a format that :func:`read_picture` knows."""
    return start.startswith(_SIGNATURES) or (start[:4] == b"RIFF" and start[8:12] == b"WEBP")


def read_start(path: str | Path) -> bytes:
    """The first 256 bytes of a regular file. Raises BadImage: no regular file, empty, or it cannot be read."""
    try:
        # A pipe or a device would never end.
        regular = stat.S_ISREG(os.stat(path).st_mode)
        if regular:
            with open(path, "rb") as file:
                start = file.read(256)
    except (FileNotFoundError, ValueError):  # ValueError: a NUL in the name
        raise BadImage("no such file") from None
    except OSError as error:
        raise BadImage(f"cannot be read ({(error.strerror or str(error)).lower()})") from None
    if not regular:
        raise BadImage("not a regular file")
    if not start:
        raise BadImage("the file is empty")
    return start


def read_picture(path: str | Path) -> Picture:
    """Decode a PNG, JPEG, WebP, BMP, GIF or TIFF; of several frames the first.

    16-bit grey is scaled, not clipped; palettes, CMYK and transparency become RGB. Raises BadImage: the file cannot be read,
    is in another format, truncated or corrupt, or too large to be decoded in bounded memory.
    """
    start = read_start(path)
    _require_picture(start, os.path.getsize(path))
    with decoding("its header is damaged"), _quiet(), open(path, "rb") as file, _open(file, start) as image:
        return _decode(image)


def decode_picture(data: bytes) -> Picture:
    """As :func:`read_picture`, from the bytes of a file that stands in another or in memory. Raises BadImage: as there."""
    if not data:
        raise BadImage("the file is empty")
    _require_picture(data[:256], len(data))
    with decoding("its header is damaged"), _quiet(), _open(io.BytesIO(data), data[:256]) as image:
        return _decode(image)


def _require_picture(start: bytes, size: int) -> None:
    if not looks_like_picture(start):
        raise BadImage(f"not an image in one of the formats {', '.join(PICTURE_FORMATS)}")
    if size > MAX_BYTES:
        raise BadImage(f"{size / 2**20:.0f} MiB, more than the {MAX_BYTES // 2**20} MiB allowed for a picture")


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        # Pillow warns of what is refused or mended here anyway; its own limit stays on for what is larger still.
        warnings.simplefilter("ignore")
        yield


def _open(file: IO[bytes], start: bytes) -> ImageFile.ImageFile:
    if start.startswith(b"\xff\xd8\xff"):
        # Image.open refuses by size alone; a JPEG can be decoded reduced, and _decode sees to that.
        return JpegImagePlugin.JpegImageFile(file)
    return Image.open(file, formats=PICTURE_FORMATS)


def _decode(image: ImageFile.ImageFile) -> Picture:
    width, height = image.size
    pixels = width * height
    # A progressive JPEG is held whole, two bytes a coefficient, before it is reduced.
    largest = MAX_DECODED_PIXELS if image.info.get("progressive") else MAX_JPEG_PIXELS
    if image.format == "JPEG" and MAX_KEPT_PIXELS < pixels <= largest:
        step = next(step for step in (2, 4, 8) if pixels / step**2 <= MAX_KEPT_PIXELS)
        image.draft(image.mode, (width // step, height // step))
    if image.width * image.height > MAX_DECODED_PIXELS:
        limit = f"{MAX_DECODED_PIXELS // 10**6} megapixels that can be decoded in bounded memory"
        raise BadImage(f"{width}x{height} pixels, more than the {limit}; make it smaller")
    turned = (image.getexif().get(0x0112) or 1) >= 5
    upright = ImageOps.exif_transpose(_shrunk(_plain(image)))
    if upright.mode == "RGBA":
        upright = Image.alpha_composite(Image.new("RGBA", upright.size, "white"), upright)
    if turned:
        width, height = height, width
    return Picture(np.array(upright.convert("RGB")), width, height)


def _fitted(width: int, height: int) -> tuple[int, int]:
    """The size, in the same proportions, that has at most ``MAX_KEPT_PIXELS``."""
    shrink = min(1.0, (MAX_KEPT_PIXELS / (width * height)) ** 0.5)
    return max(1, int(width * shrink)), max(1, int(height * shrink))


def _plain(image: Image.Image) -> Image.Image:
    """The image in a mode that can be averaged: L, RGB, RGBA or CMYK."""
    if image.mode.startswith("I"):
        # Pillow clips 16-bit grey to 255 on conversion; scaling keeps the picture.
        return _with_info(Image.fromarray((np.asarray(image).clip(0, 65535) >> 8).astype(np.uint8)), image)
    if image.mode == "F":
        raise BadImage("its grey levels are floating-point numbers of unknown range; save it with 8 or 16 bits")
    if image.mode in ("LA", "PA", "La", "RGBa") or "transparency" in image.info:
        return _with_info(image.convert("RGBA"), image)
    return image if image.mode in ("L", "RGB", "RGBA", "CMYK") else _with_info(image.convert("RGB"), image)


def _shrunk(image: Image.Image) -> Image.Image:
    size = _fitted(*image.size)
    return image if size == image.size else _with_info(image.resize(size, Image.Resampling.BOX), image)


def _with_info(made: Image.Image, image: Image.Image) -> Image.Image:
    """``made`` with what the original says of its orientation."""
    made.info = {key: value for key, value in image.info.items() if key in ("exif", "xmp", "XML:com.adobe.xmp")}
    return made
