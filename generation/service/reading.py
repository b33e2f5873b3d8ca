"""One upload read: a picture at once, a video some frames at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from encoder.analysis.analyzer import FaceAnalyzer
from encoder.detection.face import Detector
from encoder.inference.emotion_encoder import EmotionEncoder
from encoder.pictures.sources import View
from generation.service.again import read_again
from generation.service.orders import ReadFace, ReadOrder, ReadResult
from generation.service.results import read_faces
from generation.service.settings import EngineSettings
from generation.service.uploads import given_picture, is_video, video_views

# Frames of a video that are read before others have their turn.
_FRAMES = 8


def read_upload(
    picture: Any,
    order: ReadOrder,
    encoder: EmotionEncoder,
    detector: Detector,
    in_turn: Callable[[Callable[[], Any]], Any],
    folder: Path,
    settings: EngineSettings,
) -> ReadResult:
    """The faces of a picture, or of the bytes of a video, which is decoded in this thread.

    Args:
        in_turn: computes what it is given when its turn has come. folder: private; see :mod:`generation.service.uploads`.

    Raises:
        UserError: it cannot be read, or is too large.
    """
    started, video = time.monotonic(), is_video(picture)
    analyzer = FaceAnalyzer(encoder, detector, min_size=order.min_size, largest=order.largest, crops=order.crops)
    size: tuple[int | None, int | None] = (None, None)
    if video:
        views = video_views(bytes(picture), order.every, folder, settings)
    else:
        given = given_picture(picture, settings)
        size, views = (given.width, given.height), iter([View("picture", picture=given)])
    faces, rate = list[ReadFace](), None
    for some in _chunks(views, _FRAMES):
        first = some[0].picture
        if video and first is not None:
            size, rate = (first.width, first.height), some[0].rate
        found = in_turn(lambda some=some: list(analyzer.stream(some, explain=order.explain and not video)))  # type: ignore[misc]
        faces += [face for reading in found for face in read_faces(reading)]
    command, python = read_again(order)
    return ReadResult(
        command=command,
        python=python,
        seconds=round(time.monotonic() - started, 3),
        faces=tuple(faces),
        width=size[0],
        height=size[1],
        rate=rate,
    )


def _chunks(views: Iterator[View], size: int) -> Iterator[Sequence[View]]:
    while some := list(islice(views, size)):
        yield some
