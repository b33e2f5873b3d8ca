"""What a user names (files, folders, patterns, a camera, arrays) as a stream of pictures to look at."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from configs.cli import UserError
from encoder.pictures.face_images import BadImage
from encoder.pictures.pictures import Picture, decode_picture, looks_like_picture, read_picture, read_start
from encoder.pictures.videos import VIDEO_ENDINGS, BadVideo, Video, looks_like_video

PICTURE_ENDINGS = (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".gif", ".tif", ".tiff")


@dataclass(frozen=True, eq=False)
class View:
    """One picture to look at, or why it cannot be had.

    Attributes:
        source: the file as it was named or found, ``camera:0``, or ``array:0``.
        frame, time: number and seconds from the start, for videos and cameras.
        picture: the pixels; None exactly where ``problem`` says why.
        rate: frames a second of the views of this source, where it is a video that says so.
        kept: what else is known of the picture and goes into its rows, such as an id; names and plain values.
    """

    source: str
    frame: int | None = None
    time: float | None = None
    picture: Picture | None = None
    problem: str | None = None
    rate: float | None = None
    kept: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Found:
    """Files in the order in which they are read, and how many in folders were passed over for their endings."""

    files: tuple[str, ...]
    ignored: int


def find_files(paths: Sequence[str | Path]) -> Found:
    """Files behind names: a folder gives its pictures and videos at any depth, a pattern (``*``, ``?``, ``**``) its matches.

    A name that is nothing of that is kept as it is, so that reading it says what is wrong. No file comes twice. Raises
    UserError: a pattern matches nothing, or a folder holds no picture and no video.
    """
    files: dict[str, None] = {}
    ignored = 0
    for name in map(str, paths):
        if os.path.isdir(name):
            found, passed = _in_folder(name)
            if not found:
                raise UserError(f"{name}: holds no picture and no video ({', '.join(PICTURE_ENDINGS + VIDEO_ENDINGS)})")
            files.update(dict.fromkeys(found))
            ignored += passed
        elif not os.path.lexists(name) and glob.has_magic(name):
            matches = sorted(match for match in glob.glob(name, recursive=True) if not os.path.isdir(match))
            if not matches:
                raise UserError(f"{name}: no file matches this pattern")
            files.update(dict.fromkeys(matches))
        else:
            files[name] = None
    return Found(tuple(files), ignored)


def _in_folder(folder: str) -> tuple[list[str], int]:
    found, ignored = [], 0
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if name.startswith("."):
                continue
            if name.lower().endswith(PICTURE_ENDINGS + VIDEO_ENDINGS):
                found.append(os.path.join(place, name))
            else:
                ignored += 1
    return found, ignored


def view_files(files: Iterable[str | Path], *, every: int = 1, rate: float | None = None) -> Iterator[View]:
    """The pictures, and the frames of the videos, of the files in turn; what a file holds is decided by its first bytes.

    A file that cannot be read gives one view that says so; so does the end of a video that is shorter than promised.

    Args:
        every, rate: which frames of a video, see :class:`encoder.pictures.videos.Video`.
    """
    for file in files:
        name = str(file)
        try:
            start = read_start(file)
            if looks_like_picture(start):
                yield View(name, picture=read_picture(file))
            elif looks_like_video(start):
                yield from _frames(name, Video(file, every=every, rate=rate))
            else:
                yield View(name, problem="neither a picture nor a video in a known format")
        except (BadImage, BadVideo) as error:
            yield View(name, problem=str(error))


def view_bytes(source: str, data: bytes | None, kept: Mapping[str, Any] | None = None) -> View:
    """A picture from the bytes of its file, which stand in a table or an archive; bytes that are none give a view that says so.

    Args:
        source: what the rows call it.
        data: a PNG, JPEG, WebP, BMP, GIF or TIFF file; None: there is none.
        kept: see :class:`View`.
    """
    try:
        return View(source, picture=decode_picture(data or b""), kept=kept)
    except BadImage as error:
        return View(source, problem="holds no picture" if not data else str(error), kept=kept)


def view_camera(number: int, *, every: int = 1) -> Iterator[View]:
    """Frames of a camera until it stops. Raises UserError: there is no such camera."""
    yield from _frames(f"camera:{number}", Video(number, every=every))


def view_arrays(arrays: Iterable[NDArray[np.uint8]]) -> Iterator[View]:
    """Pictures from memory: (H, W, 3) uint8 RGB, or (H, W) uint8 grey. Raises UserError: another shape or type."""
    for number, array in enumerate(arrays):
        pixels = np.asarray(array)
        if pixels.dtype != np.uint8 or not (pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] == 3)) or not pixels.size:
            raise UserError(
                f"array {number}: need (H, W, 3) RGB or (H, W) grey in uint8, got {pixels.dtype} of shape {pixels.shape}"
            )
        if pixels.ndim == 2:
            pixels = np.repeat(pixels[..., None], 3, axis=2)
        yield View(f"array:{number}", picture=Picture(pixels, pixels.shape[1], pixels.shape[0]))


def _frames(name: str, video: Video) -> Iterator[View]:
    last: tuple[int, float] | None = None
    for frame in video:
        height, width = frame.pixels.shape[:2]
        last = (frame.index, frame.time)
        yield View(name, frame.index, frame.time, Picture(frame.pixels, width, height), rate=video.rate or None)
    if video.problem:
        index, time = last or (None, None)
        yield View(name, index, time, problem=video.problem)
