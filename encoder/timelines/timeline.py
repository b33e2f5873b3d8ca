"""What the people of one video show over time: smoothed, a row a second, and a summary a person."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from configs.cli import UserError
from configs.values import real
from configs.wording import printable
from encoder.analysis.analyzer import Reading
from encoder.analysis.rows import FaceRow, PlainRow, to_dataframe
from encoder.timelines.options import DEFAULT_SMOOTH
from encoder.timelines.person import SMOOTHED, SUMMARY, person_of
from encoder.timelines.scene_cuts import SceneCuts
from encoder.timelines.seconds import SecondMeans
from encoder.timelines.tracking import PATIENCE_SECONDS
from engine.storage.atomic import require_new

By = Literal["frame", "second", "person"]


def checked_smooth(seconds: Any) -> float:
    """``seconds`` of smoothing. Raises UserError: it is no number from 0 to 3600."""
    value = real("smooth", seconds)
    if not 0 <= value <= 3600:
        raise UserError(f"smooth must lie between 0 (not at all) and 3600 seconds, got {seconds}")
    return value


def without_picture(reading: Reading) -> Reading:
    """The reading without its pixels."""
    return replace(reading, view=replace(reading.view, picture=None), overlays=())


class Timeline:
    """What the people of one video show over time.

    Args:
        readings: of all frames of one video, in order, with people numbered.
        smooth: seconds around each frame over which the mean is taken; 0: none.
        cuts: what watched the frames.

    Attributes:
        source: the file.
        rows: as of a picture: one a face and frame, and one for each frame without a face and each problem.
        people: in the order in which they appear.
        cuts: seconds at which another scene begins.
        end: seconds from the start to the last frame.
        gap: seconds; where somebody was out of sight for longer, smoothing and lines are broken.
    """

    def __init__(
        self, source: str, readings: Iterable[Reading], *, smooth: float = DEFAULT_SMOOTH, cuts: SceneCuts | None = None
    ) -> None:
        self.source, self.smooth = source, checked_smooth(smooth)
        # All pictures of a video have no room in memory.
        self._readings = tuple(without_picture(reading) for reading in readings)
        self.rows = tuple(row for reading in self._readings for row in reading.rows)
        views = [reading.view for reading in self._readings if reading.view.time is not None]
        self.cuts = tuple(view.time or 0.0 for view in views if cuts is not None and cuts.before(view))
        times = np.array([view.time for view in views], np.float64)
        self.end = float(times[-1]) if len(times) else 0.0
        steps = np.diff(times)
        # The last frame stands for as long as the others do.
        rate = views[-1].rate if views else None
        last = float(np.median(steps)) if len(steps) else 1 / rate if rate else 0.0
        lasting = dict(zip((view.frame for view in views), [*np.clip(steps, 0, None).tolist(), last], strict=False))
        self.gap = max(PATIENCE_SECONDS, 2.5 * last)
        faces: dict[int, list[FaceRow]] = {}
        for row in self.rows:
            if row.person is not None:
                faces.setdefault(row.person, []).append(row)
        self.people = tuple(person_of(number, rows, lasting, self.smooth, self.gap) for number, rows in sorted(faces.items()))

    def __repr__(self) -> str:
        shown = ", ".join(f"{each.number}: {each.emotion}" for each in self.people[:4]) + (", …" if len(self.people) > 4 else "")
        people = f"{len(self.people)} {'person' if len(self.people) == 1 else 'people'}"
        return f"Timeline({self.source}, {self.end:.1f} s, {people}{': ' if shown else ''}{shown})"

    def _repr_html_(self) -> str:
        return str(self.to_dataframe("person").round(3)._repr_html_())

    @property
    def problems(self) -> tuple[str, ...]:
        """What could not be read; a frame without a face is none."""
        from encoder.analysis.rows import Analysis

        return Analysis(self.rows).problems

    def seconds(self) -> list[PlainRow]:
        """One row a person and second, see :class:`encoder.timelines.seconds.SecondMeans`."""
        means = SecondMeans(self._units)
        return [row for reading in self._readings for row in means.add(reading)] + list(means.finish())

    @property
    def _units(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for row in self.rows for name in row.units or ()))

    def to_dataframe(self, by: By | Literal["smoothed"] = "frame") -> Any:
        """A ``pandas.DataFrame``.

        Args:
            by: ``frame``: all rows as they were read; ``smoothed``: a row a face, smoothed; ``second``: one a person and
                second; ``person``: the summary.

        Raises:
            UserError: something else.
        """
        import pandas as pd

        if by == "frame":
            return to_dataframe(self.rows)
        if by == "second":
            return pd.DataFrame([row.values for row in self.seconds()], columns=list(SecondMeans(self._units).blank.values))
        if by == "person":
            return pd.DataFrame([person.as_record() for person in self.people], columns=list(SUMMARY))
        if by == "smoothed":
            rows = [record for person in self.people for record in person.smoothed_records()]
            return pd.DataFrame(rows, columns=list(SMOOTHED))
        raise UserError(f"by must be frame, smoothed, second or person, got {by!r}")

    def plot(self, path: str | Path | None = None, *, overwrite: bool = False) -> Any:
        """A ``matplotlib.figure.Figure``: one panel a person; written as a PNG where ``path`` is given.

        Raises:
            UserError: a file is there and not to be overwritten, or it cannot be written.
        """
        from encoder.timelines.plot import draw_timeline, save_figure

        require_new([path], overwrite, "path", "overwrite=True")
        how = f"mean over {self.smooth:g} s" if self.smooth else "not smoothed"
        title = f"{printable(Path(self.source).name)}: emotions over time ({how})"
        figure = draw_timeline(self.people, title, self.end, self.cuts, self.gap)
        if path is not None:
            save_figure(figure, path)
        return figure
