"""Before the camera: a stream of pictures that are read as they come, and kept nowhere."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Any

import gradio as gr

from generation.service.orders import ReadOrder, ReadResult
from generation.studio.cards import data_uri, empty, face_grid, note
from generation.studio.page import EVENT, Page
from generation.studio.parts import PhotoIn, photo_bytes
from generation.studio.photos import boxed, read_card
from generation.studio.run import Stopped, client_of, told

# Seconds between two pictures that the browser sends, and after which it must be started again.
_EVERY, _LIMIT = 0.08, 300
_SIDE = {"width": {"ideal": 480}, "height": {"ideal": 360}}


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
    times = gr.State(None)

    async def read(given: str | bytes | None, times: Any, request: gr.Request) -> Any:
        return await _read(page, given, times, request)

    how = {**EVENT, "stream_every": _EVERY, "time_limit": _LIMIT}
    given.stream(read, [given, times], [say, view, times], **how)


async def _read(page: Page, given: str | bytes | None, times: deque[float] | None, request: Any) -> Any:
    t, wrong = page.t, list[str]()
    if given is None:
        return gr.skip(), gr.skip(), times
    with told(wrong.append, t):
        data = photo_bytes(page.files, given, page.engine.settings.picture_bytes)

        def act() -> ReadResult:
            try:
                return page.engine.read(data, ReadOrder(), client=f"{client_of(request)}-camera")
            except KeyboardInterrupt as error:  # an order that ended, which must not end the loop
                raise Stopped from error

        read = await asyncio.to_thread(act)
        times = deque(times or (), maxlen=20)
        times.append(time.monotonic())
        rate = (len(times) - 1) / max(1e-6, times[-1] - times[0])
        faces = [face for face in read.faces if face.problem is None]
        picture = boxed(data_uri(data, "image/jpeg"), faces, (read.width, read.height), t)
        cards = face_grid((read_card(face, number, t) for number, face in enumerate(faces[:2])), t("read.faces"), "small")
        return note(t("camera.rate", rate=t.number(rate, 1))), f'<section class="reading">{picture}{cards}</section>', times
    return note(wrong[0], "wrong"), gr.skip(), times
