"""Edit: another expression for a face in a photograph; proposals ranked, before and after side by side."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import gradio as gr

from generation.service.orders import EditResult, MadeFace, ReadOrder
from generation.studio.cards import CHOOSE, empty, note, proposal_grid
from generation.studio.files import edit_zip
from generation.studio.page import EVENT, USUAL, Page, again_box, edit_order, emotion_choices
from generation.studio.parts import PhotoIn, PhotoSlider, photo_bytes
from generation.studio.photos import Photo, boxed, shown
from generation.studio.run import client_of, session_of, told, watched
from generation.studio.tabs.edit_many import many_panel
from generation.studio.tabs.person import Person

REGIONS = ("brows", "eyes", "nose", "mouth")
# Above it only the best proposal comes as a whole picture.
_ALL_WHOLE = 40_000_000


def edit_tab(page: Page, person: Person, tabs: gr.Tabs) -> None:
    """Build the tab. ``person``: who is sent here from the faces that were made."""
    t = page.t
    with gr.Row(elem_classes="sides"):
        with gr.Column(scale=2, min_width=300, elem_classes="ask"):
            given = PhotoIn(
                label=t("edit.photo"), sources=["upload", "webcam", "clipboard"], height=210, elem_id="edit-photo", buttons=[]
            )
            gr.Markdown(t("edit.consent"), elem_classes="hint")
            emotion = gr.Dropdown(
                emotion_choices(t), value="happiness", label=t("make.pad"), allow_custom_value=True, info=t("edit.emotion_help")
            )
            intensity = gr.Slider(0, 1, 1, step=0.05, label=t("make.intensity"))
            region = gr.CheckboxGroup([(t(f"edit.{name}"), name) for name in REGIONS], value=list(USUAL), label=t("edit.region"))
            with gr.Row():
                count = gr.Slider(1, page.engine.settings.most_proposals, 6, step=1, label=t("edit.count"), min_width=190)
                seed = gr.Number(0, label=t("make.seed"), precision=0, minimum=0, min_width=100)
            with gr.Row(elem_classes="act"):
                go = gr.Button(t("edit.button"), variant="primary", scale=3, elem_id="edit")
                stop = gr.Button(t("make.stop"), scale=1, min_width=90)
        with gr.Column(scale=5, min_width=320):
            say = gr.HTML(note(""), apply_default_css=False, elem_id="edit-say")
            view = gr.HTML(empty(t("edit.empty")), js_on_load=CHOOSE, apply_default_css=False, elem_id="edit-view")
            with gr.Column(visible=False) as pair:
                slider = PhotoSlider(label=t("edit.slider"), elem_id="edit-slider", max_height=380, buttons=[])
            proposals = gr.HTML("", js_on_load=CHOOSE, apply_default_css=False, elem_id="proposals")
            zipped = gr.DownloadButton(t("edit.zip"), visible=False, elem_id="edit-zip")
            with gr.Column(visible=False) as box:
                again = again_box(page, photo=True)
    photo, face, found = gr.State(None, time_to_live=3600), gr.State(0), gr.State(None, time_to_live=3600)
    asked = [emotion, intensity, region, count, seed]
    many_panel(page, asked)

    results = [pair, slider, proposals, zipped, box]
    looked = [say, view, photo, face, given, *results]

    async def look(given: str | bytes | None, request: gr.Request) -> AsyncIterator[Any]:
        async for each in _looked_at(page, given, request):
            yield each

    async def from_made(chosen: MadeFace | None, request: gr.Request) -> AsyncIterator[Any]:
        # A face that was made is one at any size.
        async for each in _looked_at(page, chosen.png if chosen else None, request, min_size=1):
            yield each

    given.input(look, [given], looked, **EVENT)
    person.edit.click(lambda: gr.Tabs(selected="edit"), None, [tabs], **EVENT).then(from_made, [person.chosen], looked, **EVENT)

    def choose(event: gr.EventData, photo: Photo | None) -> Any:
        number = int(event.number)
        if photo is None or not 0 <= number < len(photo.faces):
            return gr.skip(), 0
        return _view(page, photo, number), number

    view.chosen(choose, [photo], [view, face], **EVENT)

    async def change(request: gr.Request, *values: Any) -> AsyncIterator[Any]:
        async for each in _changed(page, values[0], values[1], values[2:], request):
            yield each

    go.click(change, [photo, face, *asked], [say, found, *results, *again], **EVENT)

    def end(request: gr.Request) -> None:
        page.latest.stop(session_of(request), "edit")

    stop.click(end, None, None, queue=False, **EVENT)

    def compare(event: gr.EventData, found: EditResult | None) -> Any:
        number = int(event.number)
        if found is None or not 0 <= number < len(found.proposals):
            return gr.skip()
        return (found.before.close_up, found.proposals[number].close_up)

    proposals.chosen(compare, [found], [slider], **EVENT)


def _view(page: Page, photo: Photo, face: int) -> str:
    return boxed(photo.shown, photo.faces, (photo.read.width, photo.read.height), page.t, face)


async def _looked_at(page: Page, given: str | bytes | None, request: Any, **how: Any) -> AsyncIterator[Any]:
    """Status, view, photograph, face, the emptied upload, and results, which are those of another photograph."""
    t, session = page.t, session_of(request)
    if given is None:
        return
    gone, wrong = page.latest.begin(session, "edit"), list[str]()
    fresh = (gr.Column(visible=False), None, "", gr.DownloadButton(visible=False), gr.Column(visible=False))
    try:
        yield note(t("edit.looking"), "work"), gr.skip(), None, 0, gr.skip(), *fresh
        with told(wrong.append, t, gone):

            def act(_tell: Any, cancelled: Any) -> Photo:
                data = photo_bytes(page.files, given, page.engine.settings.picture_bytes)
                read = page.engine.read(data, ReadOrder(**how), client=client_of(request), cancelled=cancelled)
                return Photo(data, shown(data, page.engine.settings), read)

            async for _, photo in watched(act, gone):
                if not photo.faces:
                    wrong.append(t("edit.none"))
                else:
                    view = _view(page, photo, 0)
                    yield note(t("edit.found", count=len(photo.faces))), view, photo, 0, None, *fresh
        if wrong:
            yield note(wrong[0], "wrong"), empty(t("edit.empty")), None, 0, None, *fresh
    finally:
        page.latest.finish(session, "edit", gone)


async def _changed(page: Page, photo: Photo | None, face: int, values: Any, request: Any) -> AsyncIterator[Any]:
    """Status, result, whether there is a pair, the pair, proposals, ZIP, box, command and Python."""
    t, session, keep = page.t, session_of(request), gr.skip()
    if photo is None:
        yield note(t("edit.first"), "wrong"), *(keep,) * 8
        return
    gone, wrong = page.latest.begin(session, "edit"), list[str]()
    try:
        yield note(t("edit.working"), "work"), *(keep,) * 8
        with told(wrong.append, t, gone):
            pixels = (photo.read.width or 0) * (photo.read.height or 0) * int(values[3])
            order = edit_order(values, face, whole="all" if pixels <= _ALL_WHOLE else "best")

            def act(_tell: Any, cancelled: Any) -> EditResult:
                return page.engine.edit(order, photo.data, client=client_of(request), cancelled=cancelled)

            async for _, result in watched(act, gone):
                if not page.latest.is_newest(session, "edit", gone):
                    return
                pair = (result.before.close_up, result.proposals[0].close_up)
                line = t("edit.done", count=len(result.proposals), seconds=t.number(result.seconds, 1))
                zipped = await asyncio.to_thread(page.files.give, "edit.zip", edit_zip(result))
                yield (
                    note(line),
                    result,
                    gr.Column(visible=True),
                    pair,
                    proposal_grid(result, t),
                    gr.DownloadButton(value=zipped, visible=True),
                    gr.Column(visible=True),
                    result.command,
                    result.python,
                )
        if wrong and page.latest.is_newest(session, "edit", gone):
            yield note(wrong[0], "wrong"), *(keep,) * 8
    finally:
        page.latest.finish(session, "edit", gone)
