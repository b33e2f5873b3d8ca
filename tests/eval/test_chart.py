"""Charts: where points and their intervals come to lie, what panels share, and that a picture is written."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from eval.output.chart import Panel, draw_panels, in_rows, write_chart


def line(*xs: float) -> dict[str, list[tuple[float, float, float, float]]]:
    return {"line": [(x, 0.5, 0.1, 0.9) for x in xs]}


def test_points_lie_where_they_should_with_their_intervals() -> None:
    (axes,) = draw_panels([[Panel("a", "y", "x", {"one": [(1, 0.5, 0.2, 0.6), (3, 0.7, 0.7, 0.9)]})]], "title").axes
    (bars,) = axes.containers
    assert bars.lines[0].get_xydata().tolist() == [[1, 0.5], [3, 0.7]]
    ends = [segment[:, 1] for segment in bars.lines[2][0].get_segments()]
    assert ends == [pytest.approx([0.2, 0.6]), pytest.approx([0.7, 0.9])]
    assert axes.get_ylim()[0] < 0.2 < 0.9 < axes.get_ylim()[1] < 1.2
    assert (axes.get_title(), axes.get_xlabel(), axes.get_ylabel()) == ("a", "x", "y")


def test_named_places_are_spread_over_each_panel_and_numbers_over_the_row() -> None:
    named = [Panel("a", "", "", line(0, 1), ("off", "on")), Panel("b", "", "", line(0, 1, 2, 3), ("1", "2", "4", "32"))]
    first, second = draw_panels([named], "").axes
    assert (first.get_xlim(), second.get_xlim()) == ((-0.5, 1.5), (-0.5, 3.5))
    assert [tick.get_text() for tick in second.get_xticklabels()] == ["1", "2", "4", "32"]
    first, second = draw_panels([[Panel("a", "", "", line(0, 1)), Panel("b", "", "", line(0, 32))]], "").axes
    assert first.get_xlim() == second.get_xlim()
    assert first.get_ylim() == second.get_ylim()


def test_rows_that_are_not_full_and_lines_without_points_are_drawn(tmp_path: Path) -> None:
    panels = [Panel(str(number), "y", "x", line(0, 1) if number else {}) for number in range(4)]
    write_chart(tmp_path / "new" / "chart.png", in_rows(panels), "title")
    with Image.open(tmp_path / "new" / "chart.png") as picture:
        assert picture.width > picture.height
