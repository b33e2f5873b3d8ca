"""What clients send as pictures and videos: from memory only, by the bounded readers, and no copy is kept.

A text is refused, whatever it names: no path and no URL that a client gives is ever opened.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from configs.cli import UserError
from encoder.pictures.face_images import BadImage
from encoder.pictures.given import picture_of
from encoder.pictures.pictures import Picture, looks_like_picture
from encoder.pictures.sources import View, view_files
from encoder.pictures.videos import BadVideo, Video, looks_like_video
from generation.service.settings import MIB, EngineSettings


class TooLarge(UserError):
    """An upload is larger than the operator allows."""


def given_picture(given: Any, settings: EngineSettings) -> Picture:
    """A picture from the bytes of its file, a PIL image or an array.

    Raises:
        UserError: it is none of these, or cannot be read as a picture. TooLarge: more bytes or pixels than allowed.
    """
    if isinstance(given, str | Path):
        raise UserError("picture: send the picture itself; names and addresses are not opened")
    if isinstance(given, bytes | bytearray | memoryview):
        _require_bytes(len(given), settings.picture_bytes, "picture")
        if looks_like_video(bytes(given[:256])) and not looks_like_picture(bytes(given[:256])):
            raise UserError("picture: this is a video; send one frame of it, or have it read")
    try:
        picture = picture_of(given)
    except BadImage as error:
        raise UserError(f"picture: {error}") from None
    if picture.width * picture.height > settings.picture_pixels:
        most = settings.picture_pixels // 10**6
        raise TooLarge(f"picture: {picture.width}x{picture.height} pixels, more than {most} megapixels; make it smaller")
    return picture


def is_video(given: Any) -> bool:
    """Whether these are the bytes of a video in a known container."""
    start = bytes(given[:256]) if isinstance(given, bytes | bytearray | memoryview) else b""
    return looks_like_video(start) and not looks_like_picture(start)


def video_views(data: bytes, every: int, folder: Path, settings: EngineSettings) -> Iterator[View]:
    """The frames of a video, one in ``every``.

    FFmpeg wants a file: it stands in the private ``folder`` until it is open, and then has no name any more.

    Raises:
        UserError: it cannot be read, or lasts longer than allowed. TooLarge: more bytes than allowed.
    """
    _require_bytes(len(data), settings.video_bytes, "video")
    descriptor, name = tempfile.mkstemp(dir=folder, suffix=".video")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        _require_short(name, settings.video_seconds)
        for view in view_files([name], every=every):
            with suppress(FileNotFoundError):
                os.unlink(name)
            if view.time is not None and view.time > settings.video_seconds:
                raise UserError(_too_long(settings.video_seconds))
            yield view
    finally:
        with suppress(FileNotFoundError):
            os.unlink(name)


def _require_short(name: str, most: float) -> None:
    """As far as the header says how long it is."""
    try:
        video = Video(name)
    except BadVideo as error:
        raise UserError(f"video: {error}") from None
    seconds = len(video) / video.rate if video.rate else 0.0
    video.close()
    if seconds > most:
        raise UserError(_too_long(most))


def _too_long(most: float) -> str:
    return f"video: longer than {most:g} seconds; cut it, or read it with mimique read"


def _require_bytes(size: int, most: int, what: str) -> None:
    if size > most:
        raise TooLarge(f"{what}: {size / MIB:.1f} MiB, more than the {most / MIB:g} MiB allowed; make it smaller")
