"""Frames of a video file or a camera, one at a time, with their time stamps."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from configs.cli import UserError

VIDEO_ENDINGS = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".ogv", ".3gp", ".ts")
MAX_FRAME_PIXELS = 50 * 10**6
# Missing frames are only reported beyond this share: the count in a header is an estimate for many formats.
_MISSING_SHARE = 0.02


class BadVideo(ValueError):
    """The file is no video that can be read; the message says why in a few words."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame: its number from 0, its time in seconds from the start, and (H, W, 3) uint8 RGB pixels."""

    index: int
    time: float
    pixels: NDArray[np.uint8]


def looks_like_video(start: bytes) -> bool:
    """Whether a file beginning with these bytes is in a container that may be opened.

    FFmpeg would also open playlists, which name other files and network addresses; those are never passed to it.
    """
    return (
        start[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"skip", b"free")  # MP4, QuickTime
        or start.startswith(b"\x1aE\xdf\xa3")  # Matroska, WebM
        or (start[:4] == b"RIFF" and start[8:12] == b"AVI ")
        or start.startswith((b"\0\0\1\xba", b"\0\0\1\xb3", b"FLV\1", b"OggS", b"0&\xb2u"))  # MPEG, Flash, Ogg, ASF
        or (start[:1] == b"G" and start[188:189] == b"G")  # MPEG transport stream: a packet begins every 188 bytes
    )


class Video:
    """A video file or a camera, opened for reading once from start to end.

    Args:
        source: path of a file, or number of a camera.
        every: of so many frames the first is returned; the others are skipped without being converted.
        rate: instead of ``every``: frames a second, for files (the nearest whole step is taken).

    Attributes:
        rate: frames a second of those that are returned; 0 where the source does not say.
        problem: after the last frame, why there are fewer of them than promised, or None.

    Raises:
        BadVideo: the file cannot be opened, or its frames are larger than 50 megapixels.
        UserError: there is no such camera.
    """

    def __init__(self, source: str | Path | int, *, every: int = 1, rate: float | None = None) -> None:
        cv2 = _opencv()
        self._camera = isinstance(source, int)
        if isinstance(source, int):
            self._capture = cv2.VideoCapture(source)
        else:
            # The absolute path keeps a file's name from being read as a protocol or a pattern of numbered pictures.
            self._capture = cv2.VideoCapture(os.path.abspath(source), cv2.CAP_FFMPEG)
        if not self._capture.isOpened():
            if self._camera:
                raise UserError(f"camera {source} cannot be opened; is it connected, allowed, and used by no other program?")
            raise BadVideo("cannot be opened as a video (truncated, damaged, or a codec that OpenCV lacks)")
        width, height = (self._number(key) for key in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        if width * height > MAX_FRAME_PIXELS:
            self.close()
            raise BadVideo(f"frames of {width:.0f}x{height:.0f} pixels, more than {MAX_FRAME_PIXELS // 10**6} megapixels")
        self._fps = self._number(cv2.CAP_PROP_FPS)
        self._promised = 0 if self._camera else int(self._number(cv2.CAP_PROP_FRAME_COUNT))
        self.every = every if rate is None else max(1, round((self._fps or rate) / rate))
        self.rate = self._fps / self.every
        self.problem: str | None = None

    def __len__(self) -> int:
        """Frames that will be returned if the header is right; 0 where it does not say."""
        return -(-self._promised // self.every)

    def __iter__(self) -> Iterator[Frame]:
        cv2 = _opencv()
        index, origin = 0, None
        try:
            while self._capture.grab():
                # Drivers of cameras disagree about time; files may begin with an offset.
                stamp = time.monotonic() if self._camera else self._number(cv2.CAP_PROP_POS_MSEC) / 1000
                origin = stamp if origin is None else origin
                if index % self.every == 0:
                    done, pixels = self._capture.retrieve()
                    if not done or pixels is None:
                        break
                    elapsed = stamp - origin
                    # Some formats carry no time stamps.
                    if elapsed <= 0 and index and self._fps:
                        elapsed = index / self._fps
                    yield Frame(index, elapsed, cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB))
                index += 1
        finally:
            self.close()
        if self._camera:
            self.problem = "the camera stopped"
        elif index == 0:
            self.problem = "no frame can be read (truncated or damaged)"
        elif index < self._promised * (1 - _MISSING_SHARE) - 1:
            self.problem = f"truncated or damaged: {index} of {self._promised} frames can be read"

    def close(self) -> None:
        """Release the file or the camera."""
        self._capture.release()

    def _number(self, key: int) -> float:
        value = float(self._capture.get(key))
        return value if np.isfinite(value) and value > 0 else 0.0


def _opencv() -> Any:
    import cv2

    # What is wrong with a file is said in one line here; OpenCV and FFmpeg would add several of their own.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    if "OPENCV_LOG_LEVEL" not in os.environ:
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
    return cv2
