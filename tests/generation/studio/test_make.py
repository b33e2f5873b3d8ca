"""Make, as somebody with a browser does it."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from typing import Any

from PIL import Image

from generation.studio import pad
from tests.generation.studio.conftest import Studio

Visit = Callable[..., Any]
# What untrained networks can deliver: their readings are all much alike.
EVEN = "anger,disgust,fear,happiness,sadness,surprise,neutral"


def ask(page: Any, emotion: str) -> None:
    """Type an emotion and press the button."""
    page.locator("#emotion textarea, #emotion input").fill(emotion)
    page.locator("#make").click()


def test_a_drag_a_first_sight_verified_faces_and_their_files(visit: Visit, studio: Studio) -> None:
    page = visit("/en/")
    knob = page.locator("#pad .knob")
    box = page.locator("#pad svg").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.5)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + box["height"] * 0.6, steps=3)
    point = [float(knob.get_attribute(name)) for name in ("cx", "cy")]
    page.mouse.up()
    page.locator(".face").first.wait_for()
    wanted = pad.in_words(pad.shares((point[0], point[1])))
    assert page.locator("#emotion textarea, #emotion input").input_value() == wanted
    top, share = max(pad.shares((point[0], point[1])).items(), key=lambda each: each[1])
    assert f"{top} {round(100 * share)} %" in page.locator("#pad .shares").inner_text()

    ask(page, EVEN)
    page.locator("#faces-zip").wait_for()
    cards = page.locator(".face")
    assert cards.count() > 0
    assert cards.first.locator(".bar").count() == 7
    assert "Choose this person: seed 1," in cards.first.get_attribute("aria-label")
    with page.expect_download() as taken:
        page.locator("#faces-zip").click()
    with zipfile.ZipFile(taken.value.path()) as archive:
        manifest = json.loads(archive.read("manifest.json"))
        assert len(manifest["faces"]) == cards.count()
        face = Image.open(io.BytesIO(archive.read(manifest["faces"][0]["file"])))
        assert face.info["Seed"] == str(manifest["faces"][0]["seed"])
    page.locator(".again button").first.click()
    page.locator(".again .cm-line").first.wait_for()
    said = page.locator(".again .cm-content").first.inner_text().replace("\n", "")
    assert f"mimique sample --emotion {EVEN} --count 12 --seed 1 --identity" in said


def test_keys_move_the_point(visit: Visit, studio: Studio) -> None:
    page = visit("/en/")
    knob = page.locator("#pad .knob")
    assert knob.get_attribute("aria-valuetext") == "happiness 100 %"
    knob.focus()
    page.keyboard.press("3")
    assert knob.get_attribute("aria-valuetext") == "fear 100 %"
    page.keyboard.press("ArrowLeft")
    assert knob.get_attribute("aria-valuetext") != "fear 100 %"
    page.locator(".face").first.wait_for()
    page.locator("#make-stop").click()
    assert studio.idle()


def test_what_cannot_be_meant_is_said_on_the_page(visit: Visit, studio: Studio) -> None:
    page = visit("/en/")
    ask(page, "feer<img src=x onerror=alert(1)>")
    said = page.locator(".note.wrong").first
    said.wait_for()
    assert "unknown emotion" in said.inner_text()
    assert said.locator("img").count() == 0


def test_who_leaves_ends_the_order(visit: Visit, studio: Studio) -> None:
    page = visit("/en/")
    ask(page, "fear:0.5,disgust:0.5")
    page.locator(".face").first.wait_for()
    page.close()
    assert studio.idle()


def test_a_face_becomes_a_person_with_all_emotions_and_a_moving_picture(visit: Visit, studio: Studio) -> None:
    page = visit("/fr/")
    ask(page, EVEN)
    page.locator("#faces-zip").wait_for()
    page.locator(".face").nth(1).click()
    page.locator("#morph").click()
    with page.expect_download() as taken:
        page.locator("#person-zip").click()
    with zipfile.ZipFile(taken.value.path()) as archive:
        film = Image.open(io.BytesIO(archive.read("morph.webp")))
        assert film.size == (256, 256)
        seeds = {face["seed"] for face in json.loads(archive.read("manifest.json"))["faces"]}
    assert len(seeds) == 1
    assert page.locator("#film img").is_visible()
    assert page.locator("#person-strip .face").count() == 9
    assert f"graine {seeds.pop()}" in page.locator("#person-strip .face").first.inner_text()
