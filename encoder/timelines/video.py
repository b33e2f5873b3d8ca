"""A video in, the timeline of its people out: what ``python -m encoder.analyze --timeline`` does, from Python."""

from __future__ import annotations

from pathlib import Path

from configs.cli import UserError
from configs.values import whole
from encoder.analysis.analyzer import FaceAnalyzer
from encoder.people.embedders import create_embedder
from encoder.people.embeddings import Embedder
from encoder.pictures.sources import view_files
from encoder.timelines.options import DEFAULT_SMOOTH
from encoder.timelines.timeline import Timeline, checked_smooth
from encoder.timelines.tracking import Tracker


def read_video(
    path: str | Path,
    analyzer: FaceAnalyzer | None = None,
    *,
    every: int = 1,
    fps: float | None = None,
    smooth: float = DEFAULT_SMOOTH,
    embedder: Embedder | str | None = None,
) -> Timeline:
    """Find, read and follow the faces of a video.

    Args:
        path: of the file.
        analyzer: None: the shipped encoder and the default detector.
        every, fps: which frames: one in so many, or so many a second.
        smooth: seconds around each frame over which the timeline's mean is taken; 0: none.
        embedder: finds a person again by the face, see :class:`encoder.timelines.tracking.Tracker`; or the name of one, such
            as ``dlib``, which needs the extra ``dlib``. None: places of boxes alone decide.

    Raises:
        UserError: the file is no video that can be read, an argument makes no sense, or the embedder cannot be had. A video
            that breaks off is read as far as it goes; ``problems`` says so.
    """
    checked_smooth(smooth)
    if whole("every", every) < 1:
        raise UserError(f"every must be at least 1, got {every}")
    if fps is not None and (every != 1 or not fps > 0):
        raise UserError(f"fps must be positive, got {fps}" if every == 1 else "give every or fps, not both")
    if isinstance(embedder, str):
        embedder = create_embedder(embedder)
    tracker, reader = Tracker(embedder), analyzer or FaceAnalyzer.from_pretrained()
    readings = tracker.read(reader, view_files([path], every=every, rate=fps))
    timeline = Timeline(str(path), readings, smooth=smooth, cuts=tracker.cuts)
    if all(row.frame is None for row in timeline.rows):
        raise UserError(timeline.problems[0] if timeline.problems else f"{path}: is a picture; FaceAnalyzer.analyze reads it")
    return timeline
