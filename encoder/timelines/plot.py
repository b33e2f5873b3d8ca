"""A timeline as a picture: a panel a person, seven lines over time."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from encoder.analysis.annotate import COLOURS
from encoder.emotions import EMOTION_NAMES
from encoder.timelines.person import Person, stretches
from engine.storage.atomic import atomic_write_bytes
from engine.storage.provenance import generator

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# More people than these have no room; those who were in sight for longest are shown.
MOST_PEOPLE = 8
_WIDTH, _PANEL, _REST = 10.0, 1.7, 1.5  # inches
# Lines are read on white: yellow and grey are darker there than beside a face.
_LINES = {3: (214, 158, 0), 6: (110, 110, 110)}
_NOTE = "What people would be likely to see in the faces, not what somebody feels."


def draw_timeline(people: Sequence[Person], title: str, end: float, cuts: Sequence[float], gap: float) -> Figure:
    """The smoothed probabilities of up to eight people.

    Args:
        title: over all of it.
        end: seconds of the whole video. cuts: seconds at which a scene begins.
        gap: a line is broken where the person was out of sight for longer.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    longest = sorted(people, key=lambda person: -len(person.rows))[:MOST_PEOPLE]
    shown = sorted(longest, key=lambda person: person.number)
    # A name with two dollar signs is not a formula.
    with rc_context({"text.parse_math": False, "font.family": "DejaVu Sans"}):
        figure = Figure((_WIDTH, _PANEL * max(1, len(shown)) + _REST), layout="constrained", dpi=120)
        axes = figure.subplots(max(1, len(shown)), 1, sharex=True, squeeze=False)[:, 0]
        for place, person in zip(axes, shown, strict=False):
            _draw_person(place, person, cuts, gap)
        if not shown:
            axes[0].text(0.5, 0.5, "no face found", ha="center", va="center", transform=axes[0].transAxes)
            axes[0].set_yticks([])
        axes[0].set_xlim(0, max(end, 0.1))
        axes[-1].set_xlabel(f"seconds. {_NOTE}", fontsize=9)
        left_out = len(people) - len(shown)
        more = f"; {left_out} more {'person' if left_out == 1 else 'people'} not shown" if left_out else ""
        figure.suptitle(title + more, fontsize=12)
        handles = axes[0].get_lines()[: len(EMOTION_NAMES)]
        if shown:
            figure.legend(handles, EMOTION_NAMES, loc="outside lower center", ncols=len(EMOTION_NAMES), frameon=False, fontsize=9)
    return figure


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a figure as a PNG that says what made it. Raises UserError: the file cannot be written."""
    data = io.BytesIO()
    figure.savefig(data, format="png", metadata={"Software": generator(), "Comment": _NOTE})
    atomic_write_bytes(path, data.getvalue())


def _draw_person(place: Axes, person: Person, cuts: Sequence[float], gap: float) -> None:
    for spine in ("top", "right"):
        place.spines[spine].set_visible(False)
    place.grid(axis="y", color="0.9", linewidth=0.8)
    place.set_axisbelow(True)
    parts = stretches(person.times, gap)
    for part in parts:
        for number in range(len(EMOTION_NAMES)):
            colour = tuple(value / 255 for value in _LINES.get(number, COLOURS[number]))
            # One frame alone is a point.
            mark = "o" if part.stop - part.start == 1 else ""
            place.plot(person.times[part], person.smoothed[part, number], color=colour, linewidth=1.6, marker=mark, markersize=3)
    for cut in cuts:
        place.axvline(cut, color="0.6", linewidth=0.8, linestyle=":")
    place.set_ylim(-0.03, 1.03)
    place.set_yticks([0, 0.5, 1])
    place.set_ylabel("probability", fontsize=9)
    place.tick_params(labelsize=9)
    share = person.shares.max()
    seen = f"{person.durations.sum():.1f} s in sight"
    place.set_title(f"person {person.number}: {person.emotion} {share:.0%} of the time, {seen}", fontsize=10, loc="left")
