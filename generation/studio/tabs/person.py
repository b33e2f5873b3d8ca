"""One person among the faces: the same with all emotions, or on the way from one to another."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import gradio as gr

from encoder.emotions import EMOTION_NAMES
from engine.storage.provenance import moving
from generation.service.orders import FacesOrder, FacesResult, MadeFace
from generation.studio.cards import face_card, face_grid, note
from generation.studio.files import faces_zip
from generation.studio.page import EVENT, Page, again_box, emotion_choices
from generation.studio.run import client_of, session_of, told, watched

# Pictures of a morph; it runs there and back.
FRAMES = 9
_FRAME_MS, _END_MS = 110, 700
_SHOWN_SIDE = 256


class Found(NamedTuple):
    """Faces that were made, and what was asked of them."""

    order: FacesOrder
    faces: tuple[MadeFace, ...]


class Person(NamedTuple):
    """For who goes on with the chosen face: a state that holds it, or None, and the button that asks for a change."""

    chosen: gr.State
    edit: gr.Button


def person_panel(page: Page, found: gr.State, cards: gr.HTML) -> Person:
    """Build the panel. ``found``: a :class:`Found`; ``cards``: tell of a choice among its faces."""
    t = page.t
    chosen, seed = gr.State(None, time_to_live=3600), gr.State(None)
    gr.Markdown(f"### {t('person.title')}", elem_id="person")
    say = gr.HTML(note(t("person.none")), apply_default_css=False)
    with gr.Row(visible=False, elem_classes="act", elem_id="person-row") as row:
        all_of_them = gr.Button(t("person.strip"), variant="primary", min_width=210, elem_id="strip")
        first = gr.Dropdown(emotion_choices(t), value="neutral", label=t("person.from"), min_width=150)
        last = gr.Dropdown(emotion_choices(t), value="happiness", label=t("person.to"), min_width=150)
        morph = gr.Button(t("person.morph"), min_width=110, elem_id="morph")
        edit = gr.Button(t("person.edit"), min_width=190, elem_id="edit-face")
    strip = gr.HTML("", apply_default_css=False, elem_id="person-strip")
    film = gr.Image(
        visible=False, format="webp", height=_SHOWN_SIDE + 40, label=t("person.picture"), elem_id="film", buttons=["download"]
    )
    zipped = gr.DownloadButton(t("person.zip"), visible=False, elem_id="person-zip")
    with gr.Column(visible=False) as box:
        again = again_box(page)

    def choose(event: gr.EventData, found: Found | None) -> Any:
        number = int(event.number)
        if found is None or not 0 <= number < len(found.faces):
            return note(t("note.gone"), "wrong"), None, None, gr.Row(visible=False)
        face = found.faces[number]
        own = {"emotion": "neutral", "count": None, "seed": face.seed, "identity": True}
        line = t("person.chosen" if found.order.identity else "person.other", seed=face.seed)
        return note(line), face, found.order.model_copy(update=own), gr.Row(visible=True)

    cards.chosen(choose, [found], [say, chosen, seed, row], **EVENT)
    shown = [say, strip, film, zipped, box, *again]

    async def seven(order: FacesOrder | None, request: gr.Request) -> AsyncIterator[Any]:
        async for each in _drawn(page, order, None, request):
            yield each

    async def way(order: FacesOrder | None, start: str, end: str, request: gr.Request) -> AsyncIterator[Any]:
        async for each in _drawn(page, order, (start, end), request):
            yield each

    all_of_them.click(seven, [seed], shown, **EVENT)
    morph.click(way, [seed, first, last], shown, **EVENT)
    return Person(chosen, edit)


async def _drawn(page: Page, order: FacesOrder | None, way: tuple[str, str] | None, request: Any) -> AsyncIterator[Any]:
    """Status, strip, moving picture, ZIP, box, command and Python: of all emotions, or of the way between two."""
    t, session, keep = page.t, session_of(request), gr.skip()
    gone, wrong = page.latest.begin(session, "person"), list[str]()
    try:
        with told(wrong.append, t, gone):
            if order is None:
                yield note(t("note.gone"), "wrong"), *(keep,) * 6
                return
            yield note(t("person.working"), "work"), *(keep,) * 6
            own = {"emotion": EMOTION_NAMES, "seed": (order.seed,) * len(EMOTION_NAMES)}

            def act(_tell: Any, cancelled: Any) -> FacesResult:
                who = {"client": client_of(request), "cancelled": cancelled}
                if way is None:
                    return page.engine.faces(order.model_copy(update=own), **who)
                return page.engine.strip(order, ":".join(way), FRAMES, **who)

            async for _, result in watched(act, gone):
                if page.latest.is_newest(session, "person", gone):
                    yield _shown(page, order, way, result)
        if wrong and page.latest.is_newest(session, "person", gone):
            yield note(wrong[0], "wrong"), *(keep,) * 6
    finally:
        page.latest.finish(session, "person", gone)


def _shown(page: Page, order: FacesOrder, way: tuple[str, str] | None, result: FacesResult) -> Any:
    t, seconds = page.t, page.t.number(result.seconds, 1)
    html = face_grid((face_card(face, t) for face in result.faces), t("person.title"), "strip")
    if way is None:
        line, film, files = t("person.strip_done", seed=order.seed, seconds=seconds), None, {}
    else:
        first, last = map(t.emotion, way)
        line = t("person.morph_done", frames=len(result.faces), first=first, last=last, seconds=seconds)
        film = film_of(result)
        files = {"morph.webp": film}
    picture = gr.Image(value=page.files.give("morph.webp", film), visible=True) if film else gr.Image(value=None, visible=False)
    zipped = gr.DownloadButton(value=page.files.give("person.zip", faces_zip(result, files)), visible=True)
    return note(line), html, picture, zipped, gr.Column(visible=True), result.command, result.python


def film_of(result: FacesResult) -> bytes:
    """The faces there and back as an animated WebP of 256 pixels."""
    from PIL import Image

    side = (_SHOWN_SIDE, _SHOWN_SIDE)
    pictures = [face.picture.convert("RGB").resize(side, Image.Resampling.LANCZOS) for face in result.faces]
    last = len(pictures) - 1
    order = [*range(last + 1), *range(last - 1, 0, -1)]
    return moving([pictures[n] for n in order], [_END_MS if n in (0, last) else _FRAME_MS for n in order])
