"""The files of a timeline: for each video a plot, the smoothed rows and the summary."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from encoder.analysis.analyzer import Reading
from encoder.analysis.annotate import source_stem
from encoder.analysis.rows import PlainRow
from encoder.analysis.tables import create_table
from encoder.timelines.person import SMOOTHED, SUMMARY
from encoder.timelines.scene_cuts import SceneCuts
from encoder.timelines.timeline import Timeline, without_picture
from engine.storage.atomic import make_folder

_ENDINGS = ("-timeline.png", "-timeline.csv", "-people.csv")


def timeline_names(sources: Iterable[str]) -> list[str]:
    """Names of the files that a :class:`TimelineFiles` may give to these sources, of which any may be a video."""
    return [f"{stem}{ending}" for stem in dict.fromkeys(map(source_stem, sources)) for ending in _ENDINGS]


class TimelineFiles:
    """Writes into a folder, for each video or camera, ``NAME-timeline.png`` (plot), ``NAME-timeline.csv`` (a row a face and
    frame, smoothed) and ``NAME-people.csv`` (a row a person), when the video is over. Pictures are passed over.

    Raises:
        UserError: the folder cannot be made, or something cannot be written.
    """

    def __init__(self, folder: Path, smooth: float, cuts: SceneCuts) -> None:
        # Missing, it is missed now and not after an hour of reading.
        import matplotlib.figure  # noqa: F401

        self.folder, self._smooth, self._cuts = folder, smooth, cuts
        self._readings: list[Reading] = []
        self._used: set[str] = set()
        self.videos = 0
        make_folder(folder, "--timeline")

    def add(self, reading: Reading) -> None:
        """Take one reading; those of a source come together."""
        if self._readings and reading.view.source != self._readings[0].view.source:
            self.close()
        if reading.view.frame is not None:
            self._readings.append(without_picture(reading))

    def close(self) -> None:
        """Write what was read of the last video."""
        readings, self._readings = self._readings, []
        if not readings:
            return
        source = readings[0].view.source
        timeline = Timeline(source, readings, smooth=self._smooth, cuts=self._cuts)
        stem, number = source_stem(source), 2
        while stem.lower() in self._used:
            stem, number = f"{source_stem(source)}-{number}", number + 1
        self._used.add(stem.lower())
        self._write(f"{stem}-timeline.csv", SMOOTHED, (row for each in timeline.people for row in each.smoothed_records()))
        self._write(f"{stem}-people.csv", SUMMARY, (person.as_record() for person in timeline.people))
        # Whether that may be replaced was asked before the work.
        timeline.plot(self.folder / f"{stem}-timeline.png", overwrite=True)
        self.videos += 1

    def _write(self, name: str, columns: tuple[str, ...], records: Iterable[dict[str, object]]) -> None:
        table = create_table(self.folder / name, blank=PlainRow(dict.fromkeys(columns)))
        for record in records:
            table.write(PlainRow(record))
        table.close()
