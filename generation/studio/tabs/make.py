"""Make: a point on the pad becomes twelve faces, first in a few steps, then drawn in full and verified."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from typing import Any, NamedTuple, get_args

import gradio as gr

from configs.cli import UserError
from configs.loader import validate
from encoder.emotions import parse_distribution
from generation.request import Look
from generation.service.again import faces_again
from generation.service.orders import FacesOrder, FacesResult, MadeFace
from generation.studio import pad
from generation.studio.cards import CHOOSE, PAD_SCRIPT, empty, face_card, face_grid, note, pad_html
from generation.studio.files import faces_zip
from generation.studio.page import EVENT, Page, again_box
from generation.studio.run import client_of, session_of, told, watched
from generation.studio.tabs.person import Found, Person, person_panel
from vqvae.attributes import ATTRIBUTES

COUNT = 12
# Less would be a sheet of other people at every touch.
_FIRST_SEED = 1
# What leaves a choice to the weights; a list shows nothing for None.
_FREE = "usual"
_SHOWN = ("gender", "age", "group", "hands")


class Controls(NamedTuple):
    """What is asked for, besides the emotion: the components of ``named``, in the order of their names."""

    components: list[Any]
    names: list[str]


def make_tab(page: Page) -> Person:
    """Build the tab; what the tab for changes takes from it."""
    t = page.t
    with gr.Row(elem_classes="sides"):
        with gr.Column(scale=2, min_width=300, elem_classes="ask"):
            point = gr.HTML(
                {"x": pad.CORNERS[0][0], "y": pad.CORNERS[0][1]},
                html_template=pad_html(t, pad.AROUND, pad.CORNERS),
                js_on_load=PAD_SCRIPT,
                apply_default_css=False,
                elem_id="pad",
            )
            emotion = gr.Textbox(
                t.emotion(pad.AROUND[0]), label=t("make.emotion"), info=t("make.emotion_help"), max_length=300, elem_id="emotion"
            )
            intensity = gr.Slider(0, 1, 1, step=0.05, label=t("make.intensity"))
            with gr.Row(elem_classes="seed"):
                number = {"precision": 0, "minimum": 0, "scale": 3, "min_width": 120}
                seed = gr.Number(_FIRST_SEED, label=t("make.seed"), info=t("make.seed_help"), **number)
                dice = gr.Button(t("make.dice"), scale=2, min_width=120, size="sm")
            same = gr.Checkbox(True, label=t("make.same"), info=t("make.same_help"))
            settings = _who(page)
            with gr.Row(elem_classes="act"):
                go = gr.Button(t("make.button", count=COUNT), variant="primary", scale=3, elem_id="make")
                stop = gr.Button(t("make.stop"), scale=1, min_width=90, elem_id="make-stop")
        with gr.Column(scale=5, min_width=320):
            say = gr.HTML(note(""), apply_default_css=False)
            cards = gr.HTML(empty(t("make.empty")), js_on_load=CHOOSE, apply_default_css=False, elem_id="faces")
            zipped = gr.DownloadButton(t("make.zip"), visible=False, elem_id="faces-zip")
            again = again_box(page)
            found = gr.State(None, time_to_live=3600)
            person = person_panel(page, found, cards)
    asked = [emotion, intensity, seed, same, *settings.components]

    async def make(request: gr.Request, *values: Any) -> AsyncIterator[Any]:
        named = dict(zip(("emotion", "intensity", "seed", "same", *settings.names), values, strict=True))
        async for shown in _made(page, named, request):
            yield shown

    made: dict[str, Any] = {"fn": make, "inputs": asked, "outputs": [say, cards, found, zipped, *again], **EVENT}
    go.click(**made)
    emotion.submit(**made)
    intensity.release(**made)
    same.input(**made)

    # The words follow the point, and the point the words, so that there is one truth of what is asked.
    def words(event: gr.EventData) -> str:
        # In the page's language, in which orders take names as well.
        return pad.in_words({t.emotion(name): share for name, share in pad.shares((float(event.x), float(event.y))).items()})

    moved = point.moved(words, None, [emotion], **EVENT)
    moved.then(**made)
    emotion.input(_point, [emotion, point], [point], **EVENT)
    dice.click(lambda: secrets.randbelow(100_000), None, [seed], **EVENT).then(**made)

    def end(request: gr.Request) -> None:
        page.latest.stop(session_of(request), "make")

    stop.click(end, None, None, queue=False, **EVENT)
    return person


def _who(page: Page) -> Controls:
    """What these weights can be told of people; nothing is shown of what they cannot."""
    t, model, components, names = page.t, page.engine.model, list[Any](), list[str]()
    free = (t("make.free"), _FREE)
    with gr.Accordion(t("make.who"), open=False):
        if len(model.looks) > 1:
            looks = [look for look in get_args(Look) if look in model.looks]
            components.append(
                gr.Dropdown([free, *((t(f"look.{look}"), look) for look in looks)], value=_FREE, label=t("make.look"))
            )
            names.append("look")
        for name in _SHOWN:
            if name in model.attributes:
                words = [free, *((t(f"class.{choice}"), choice) for choice in ATTRIBUTES[name])]
                components.append(gr.Dropdown(words, value=_FREE, label=t(f"make.{name}")))
                names.append(name)
        components.append(gr.Checkbox(False, label=t("make.mark")))
        names.append("mark")
    return Controls(components, names)


def _point(emotion: str, before: Any) -> Any:
    """Where what was typed lies; while it means nothing yet, the point stays."""
    try:
        x, y = pad.place(parse_distribution(emotion))
    except UserError:
        return before
    return {"x": x, "y": y}


def ordered(named: dict[str, Any], t: Any, **further: Any) -> FacesOrder:
    """The order that the controls mean. Raises UserError: it cannot be meant."""
    if named["seed"] is None or named["seed"] < 0:
        raise UserError(f"{t('make.seed')}: {t('note.empty_number')}")
    own = {name: value for name, value in named.items() if name not in ("same", "emotion") and value not in (None, _FREE)}
    own["seed"] = int(own["seed"])
    if own.get("intensity") is not None:
        own["intensity"] = float(own["intensity"])
    return validate(FacesOrder, {**own, **further}, "order")


async def _made(page: Page, named: dict[str, Any], request: Any) -> AsyncIterator[Any]:
    """Status, cards, what was found, ZIP, command and Python, as they come."""
    t, session, hidden, keep = page.t, session_of(request), gr.DownloadButton(visible=False), gr.skip()
    gone, wrong, shown = page.latest.begin(session, "make"), list[str](), dict[int, tuple[MadeFace, bool]]()
    try:
        with told(wrong.append, t, gone):
            order = ordered(named, t, emotion=str(named["emotion"]), count=COUNT, identity=bool(named["same"]))
            again = faces_again(order, page.engine.settings.weights)
            yield note(t("make.drawing"), "work"), keep, keep, hidden, *again

            def act(tell: Any, cancelled: Any) -> FacesResult:
                who = {"client": client_of(request), "cancelled": cancelled}
                tell(page.engine.coarse(order, **who))
                return page.engine.faces(order, **who, taken=tell)

            async for kind, what in watched(act, gone):
                if not page.latest.is_newest(session, "make", gone):
                    return
                if kind == "end":
                    yield _done(page, order, what, gone.is_set())
                elif isinstance(what, FacesResult):
                    shown = {face.seed: (face, True) for face in what.faces}
                    line = t("make.first", count=len(shown), seconds=t.number(what.seconds, 1))
                    yield note(line, "work"), *_shown(page, order, shown), hidden, *again
                else:
                    shown[what.seed] = (what, False)
                    line = t("make.checking", done=sum(not first for _, first in shown.values()), count=COUNT)
                    yield note(line, "work"), *_shown(page, order, shown), hidden, *again
        if wrong and page.latest.is_newest(session, "make", gone):
            yield note(wrong[0], "wrong"), keep, keep, hidden, keep, keep
    finally:
        page.latest.finish(session, "make", gone)


def _shown(page: Page, order: FacesOrder, shown: dict[int, tuple[MadeFace, bool]]) -> tuple[str, Found]:
    """Cards of the faces by seed, and what a choice among them may choose."""
    faces = [shown[seed] for seed in sorted(shown)]
    cards = [face_card(face, page.t, number, first=first) for number, (face, first) in enumerate(faces)]
    html = face_grid(cards, page.t("make.faces")) if cards else empty(page.t("make.empty"))
    return html, Found(order, tuple(face for face, _ in faces))


def _done(page: Page, order: FacesOrder, result: FacesResult, stopped: bool) -> Any:
    t, count, seconds = page.t, len(result.faces), page.t.number(result.seconds, 1)
    if result.complete:
        line, kind = t("make.done", done=count, seconds=seconds, tried=result.tried), ""
    elif stopped:
        line, kind = t("note.stopped"), ""
    else:
        line, kind = t("make.fewer", done=count, count=result.asked, seconds=seconds), "wrong"
    zipped = gr.DownloadButton(value=page.files.give("faces.zip", faces_zip(result)), visible=True) if count else gr.skip()
    shown = _shown(page, order, {face.seed: (face, False) for face in result.faces})
    return note(line, kind), *shown, zipped, result.command, result.python
