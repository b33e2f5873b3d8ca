"""Before the camera: a stream of pictures that are read as they come, and kept nowhere."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Any, NamedTuple

import gradio as gr

from encoder.detection.following import Following
from generation.service.orders import ReadOrder, ReadResult
from generation.studio.cards import data_uri, empty, face_grid, note
from generation.studio.page import EVENT, Page
from generation.studio.parts import PhotoIn, photo_bytes
from generation.studio.photos import boxed, read_card
from generation.studio.run import Stopped, client_of, told

# Seconds between two pictures that the browser sends, and after which it must be started again.
_EVERY, _LIMIT = 0.08, 300
_SIDE = {"width": {"ideal": 480}, "height": {"ideal": 360}}


class Camera(NamedTuple):
    """One visitor's: where its faces were, and when its last pictures were read."""

    faces: Following
    times: deque[float]


def camera_panel(page: Page) -> None:
    """Build the panel."""
    t = page.t
    with gr.Accordion(t("camera.title"), open=False, elem_id="camera"):
        gr.Markdown(t("camera.help"), elem_classes="hint")
        options = gr.WebcamOptions(mirror=True, constraints={"video": _SIDE})
        given = PhotoIn(
            label=t("camera.title"), sources=["webcam"], streaming=True, webcam_options=options, height=230, elem_id="camera-in"
        )
        say = gr.HTML(note(""), apply_default_css=False, elem_id="camera-say")
        view = gr.HTML(empty(t("camera.empty")), apply_default_css=False, elem_id="camera-view")
    camera = gr.State(None)

    async def read(given: str | bytes | None, camera: Any, request: gr.Request) -> Any:
        return await _read(page, given, camera, request)

    how = {**EVENT, "stream_every": _EVERY, "time_limit": _LIMIT}
    given.stream(read, [given, camera], [say, view, camera], **how)


async def _read(page: Page, given: str | bytes | None, camera: Camera | None, request: Any) -> Any:
    t, wrong, camera = page.t, list[str](), camera or Camera(page.engine.following(), deque(maxlen=20))
    if given is None:
        return gr.skip(), gr.skip(), camera
    with told(wrong.append, t):
        data = photo_bytes(page.files, given, page.engine.settings.picture_bytes)

        def act() -> ReadResult:
            try:
                return page.engine.read(data, ReadOrder(), client=f"{client_of(request)}-camera", detector=camera.faces)
            except KeyboardInterrupt as error:  # an order that ended, which must not end the loop
                raise Stopped from error

        read = await asyncio.to_thread(act)
        camera.times.append(time.monotonic())
        rate = (len(camera.times) - 1) / max(1e-6, camera.times[-1] - camera.times[0])
        faces = [face for face in read.faces if face.problem is None]
        picture = boxed(data_uri(data, "image/jpeg"), faces, (read.width, read.height), t)
        cards = face_grid((read_card(face, number, t) for number, face in enumerate(faces[:2])), t("read.faces"), "small")
        return note(t("camera.rate", rate=t.number(rate, 1))), f'<section class="reading">{picture}{cards}</section>', camera
    return note(wrong[0], "wrong"), gr.skip(), camera
