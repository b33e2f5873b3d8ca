"""A video as browsers play it: H.264 in MP4, the index first, so that it starts before all of it is there."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from configs.cli import UserError
from configs.wording import one_line
from engine.storage.atomic import draft
from engine.threads import free_threads

# Of x264: half as long again as OpenCV's MPEG-4 takes, a sixth of its bytes, and writing stays sharp.
_OPTIONS = {"preset": "veryfast", "crf": "20"}
# 30000/1001 frames a second, and not 29.97, is what cameras mean.
_LARGEST_DENOMINATOR = 1001
_MAX_RATE = 240


class VideoFile:
    """An MP4 that takes its name when it is finished; after an error there is none.

    Args:
        path: of the file; its folder must exist.
        rate: frames a second, up to 240.
        texts: what the file says of itself, such as ``title`` and ``comment``; MP4 keeps few other names.

    Raises:
        UserError: the file cannot be written, or PyAV has no H.264 encoder.
    """

    def __init__(self, path: Path, rate: float, *, texts: Mapping[str, str] | None = None) -> None:
        import av

        self.path = path
        self._rate = Fraction(min(rate, _MAX_RATE)).limit_denominator(_LARGEST_DENOMINATOR) or Fraction(1, _LARGEST_DENOMINATOR)
        self._stream: Any = None
        self._size = (0, 0)
        self._frames = 0
        with ExitStack() as stack:
            beside = stack.enter_context(draft(path, ".tmp.mp4"))
            self._container: Any = av.open(beside.name, "w", format="mp4", options={"movflags": "+faststart"})
            stack.callback(self._container.close)
            self._container.metadata.update(texts or {})
            self._draft = stack.pop_all()

    def write(self, frame: NDArray[np.uint8]) -> None:
        """Add an (H, W, 3) uint8 RGB frame. The first decides the size, less a row or a column where it is odd.

        Raises:
            UserError: it cannot be written.
        """
        import av

        try:
            if self._stream is None:
                self._begin(frame)
            width, height = self._size
            whole = frame[:height, :width]
            if whole.shape[:2] != (height, width):  # a stream may change its size on the way
                whole = np.asarray(Image.fromarray(frame).resize(self._size, Image.Resampling.LANCZOS))
            shown = av.VideoFrame.from_ndarray(np.ascontiguousarray(whole), format="rgb24")
            shown.pts = self._frames
            self._frames += 1
            self._container.mux(self._stream.encode(shown))
        except (av.FFmpegError, OSError) as error:
            self._give_up(error)

    def finish(self) -> None:
        """Put the file in its place; a video without a frame leaves none.

        Raises:
            UserError: it cannot be written.
        """
        import av

        try:
            if self._stream is None:
                raise UserError(f"{self.path}: no frame was written")
            self._container.mux(self._stream.encode(None))
        except (av.FFmpegError, OSError, UserError) as error:
            self._give_up(error)
        self._draft.close()

    def _begin(self, frame: NDArray[np.uint8]) -> None:
        import av

        # H.264 halves the colours both ways, so sides are even; x264 needs two pixels.
        height, width = (max(2, side // 2 * 2) for side in frame.shape[:2])
        try:
            stream: Any = self._container.add_stream("libx264", rate=self._rate, options=_OPTIONS)
        except (av.FFmpegError, ValueError) as error:
            raise UserError(f"{self.path}: PyAV cannot write H.264 here ({one_line(error)}); install its wheel: av") from None
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.time_base = stream.codec_context.time_base = 1 / self._rate
        stream.codec_context.thread_count = free_threads()
        self._stream, self._size = stream, (width, height)

    def _give_up(self, error: Exception) -> None:
        """Close and remove the draft, then say what happened."""
        said = error if isinstance(error, UserError) else UserError(f"{self.path}: cannot be written ({one_line(error)})")
        # The draft removes itself where its block ends with an error.
        self._draft.__exit__(type(said), said, said.__traceback__)
        raise said from None
