"""What ``python -m encoder.analyze`` writes beside its listing: a table, annotated pictures, timelines."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from encoder.analysis.analyzer import FaceAnalyzer, Reading
from encoder.analysis.columns import Columns
from encoder.analysis.tables import create_table
from encoder.timelines.seconds import SecondMeans
from encoder.timelines.tracking import Tracker

Output = Callable[[Reading], None]


def open_outputs(
    arguments: argparse.Namespace, analyzer: FaceAnalyzer, columns: Columns, tracker: Tracker | None, stack: ExitStack
) -> list[Output]:
    """What takes each reading; all of it is finished, whatever ends the work, when ``stack`` is left."""
    outputs: list[Output] = []
    if arguments.out is not None:
        units = analyzer.action_units.columns if analyzer.action_units is not None else ()
        if arguments.per == "second":
            outputs.append(_seconds(arguments.out, units, stack, as_is=arguments.csv_as_is))
        else:
            how = {"units": units, "kept": columns.kept_kinds, "as_is": arguments.csv_as_is, "landmarks": arguments.landmarks}
            outputs.append(_faces(arguments.out, stack, person=tracker is not None, **how))
    if arguments.timeline is not None and tracker is not None:
        from encoder.timelines.files import TimelineFiles

        timelines = TimelineFiles(arguments.timeline, arguments.smooth, tracker.cuts)
        stack.callback(timelines.close)
        outputs.append(timelines.add)
    if arguments.annotate is not None:
        from encoder.analysis.annotate import Annotator

        annotator = Annotator(arguments.annotate)
        stack.callback(annotator.close)
        outputs.append(annotator.add)
    return outputs


def _faces(out: str, stack: ExitStack, **how: Any) -> Output:
    table = create_table(out, **how)
    stack.callback(table.close)

    def add(reading: Reading) -> None:
        for row in reading.rows:
            table.write(row, reading.view.kept)

    return add


def _seconds(out: str, units: tuple[str, ...], stack: ExitStack, *, as_is: bool) -> Output:
    means = SecondMeans(units)
    table = create_table(out, blank=means.blank, as_is=as_is)
    stack.callback(table.close)

    def finish() -> None:
        for row in means.finish():
            table.write(row)

    stack.callback(finish)

    def add(reading: Reading) -> None:
        for row in means.add(reading):
            table.write(row)

    return add
