"""Charts in a picture: where points come to lie, and what else the picture makes room for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageColor

from eval.output.chart import COLOURS, GAP, HEIGHT, LEFT, LINE, TOP, WIDTH, Panel, draw_panels


def dots(path: Path, left: int, top: int = TOP) -> npt.NDArray[np.float64]:
    """Where along a chart, from 0 to 1, an interval of the first line is drawn: columns with much of its colour."""
    pixels = np.asarray(Image.open(path))[top : top + HEIGHT, left : left + WIDTH]
    return np.flatnonzero((pixels == ImageColor.getrgb(COLOURS[0])).all(axis=2).sum(axis=0) > HEIGHT / 4) / WIDTH


def test_named_places_are_spread_over_each_chart_and_numbers_over_the_row(tmp_path: Path) -> None:
    def line(*xs: float) -> dict[str, list[tuple[float, float, float, float]]]:
        return {"line": [(x, 0.5, 0.1, 0.9) for x in xs]}

    draw_panels([[Panel("a", "", "", line(0, 1), ("off", "on")), Panel("b", "", "", line(0, 1, 2, 3), ("1", "2", "4", "32"))]],
                tmp_path / "named.png", title="")  # fmt: skip
    assert dots(tmp_path / "named.png", LEFT) == pytest.approx([1 / 4, 3 / 4], abs=0.01)
    assert dots(tmp_path / "named.png", LEFT + WIDTH + GAP) == pytest.approx([1 / 8, 3 / 8, 5 / 8, 7 / 8], abs=0.01)
    draw_panels([[Panel("a", "", "", line(0, 1)), Panel("b", "", "", line(0, 32))]], tmp_path / "numbers.png", title="")
    first, second = dots(tmp_path / "numbers.png", LEFT)
    assert second - first == pytest.approx(np.ptp(dots(tmp_path / "numbers.png", LEFT + WIDTH + GAP)) / 32, abs=0.01)


def test_room_is_made_for_titles_that_change_and_for_ticks_of_two_lines(tmp_path: Path) -> None:
    def height(*titles: str, tick: str = "1") -> int:
        rows = [[Panel(title, "", "", {"line": [(0, 0.5, 0.1, 0.9)]}, (tick,))] for title in titles]
        draw_panels(rows, tmp_path / "picture.png", title="")
        with Image.open(tmp_path / "picture.png") as picture:
            return picture.height

    assert height("a", "b") > height("a", "a")
    assert height("a", "a", tick="1\n2") == height("a", "a") + 2 * LINE
