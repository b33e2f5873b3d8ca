"""The page on which people rate: nothing leaves it, nothing on it gives an answer away, and it is usable by keys."""

from __future__ import annotations

import csv
import importlib.util
import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from generation.kit.rating_sheet import ANSWERS, FIELDS, Shown, rating_sheet

BROWSER = shutil.which("chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]  # fmt: skip
CODES = [f"{number:010x}" for number in range(6)]


@pytest.fixture
def page(tmp_path: Path, rng: np.random.Generator) -> Path:
    path = tmp_path / "sheet.html"
    faces = [Shown(code, rng.integers(0, 255, (16, 16, 3), dtype=np.uint8)) for code in CODES]
    path.write_text(rating_sheet(faces, "set<1>"), encoding="utf-8")
    return path


def test_the_page_loads_nothing_and_gives_nothing_away(page: Path) -> None:
    text, loaded = page.read_text(encoding="utf-8"), list[str]()

    class Tags(HTMLParser):
        def handle_starttag(self, _tag: str, attributes: Any) -> None:
            loaded.extend(value for name, value in attributes if name in ("src", "href", "action"))

    Tags().feed(text)
    assert loaded == []
    assert "default-src 'none'" in text
    assert "unsafe-inline" not in text
    assert "://" not in text  # pictures lie within it in base64, where "http" may turn up by chance
    (content,) = re.findall(r'id="content">(.*?)</script>', text, flags=re.DOTALL)
    for name in ANSWERS:
        # The list of answers only: no face has the name of an emotion beside it.
        assert content.count(name) == 1


@pytest.fixture
def browser() -> Iterator[Any]:
    if BROWSER is None or importlib.util.find_spec("playwright") is None:
        pytest.skip("needs chromium and playwright, of the extra dev")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=BROWSER, args=FLAGS)
        yield opened
        opened.close()


@pytest.mark.slow
def test_faces_are_rated_by_keys_in_an_order_of_the_rater_and_saved(browser: Any, page: Path, tmp_path: Path) -> None:
    orders = {}
    for rater in ("R01", "R02"):
        context = browser.new_context(accept_downloads=True, viewport={"width": 360, "height": 740})
        tab, problems = context.new_page(), list[str]()
        tab.on("console", lambda message, found=problems: found.append(message.text))
        tab.on("pageerror", lambda error, found=problems: found.append(str(error)))
        tab.goto(page.as_uri())
        tab.fill("#rater", rater)
        tab.keyboard.press("Enter")
        for key in ("3", "9", "7", "Enter", "8", "1"):
            tab.keyboard.press(key)
        assert tab.inner_text("#count") == "2 of 6"
        assert tab.is_disabled("#next")
        tab.keyboard.press("Enter")
        assert tab.inner_text("#count") == "2 of 6"
        tab.reload()
        tab.fill("#rater", rater)
        tab.keyboard.press("Enter")
        assert tab.inner_text("#count") == "2 of 6"
        assert tab.evaluate("document.documentElement.scrollWidth") <= 360
        for _ in range(5):
            for key in ("8", "2", "4", "Enter"):
                tab.keyboard.press(key)
        with tab.expect_download() as download:
            tab.click("#save")
        download.value.save_as(tmp_path / f"{rater}.csv")
        with (tmp_path / f"{rater}.csv").open(encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
        assert tuple(rows[0]) == FIELDS
        assert [row["position"] for row in rows] == list("123456")
        assert [(row["emotion"], row["intensity"], row["believability"]) for row in rows] == [
            ("fear", "9", "7"), *[("other", "2", "4")] * 5
        ]  # fmt: skip
        assert {row["set"] for row in rows} == {"set<1>"}
        assert problems == []
        orders[rater] = [row["code"] for row in rows]
        context.close()
    assert sorted(orders["R01"]) == sorted(orders["R02"]) == CODES
    assert orders["R01"] != orders["R02"]
