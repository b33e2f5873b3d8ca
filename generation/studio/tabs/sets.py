"""Set: a labelled set in the background; its progress, and in the end one ZIP with data card."""

from __future__ import annotations

from html import escape
from typing import Any

import gradio as gr

from configs.loader import validate
from generation.service.jobs import Job
from generation.service.orders import DatasetOrder, JobState
from generation.studio.cards import empty, note
from generation.studio.page import EVENT, Page, again_box
from generation.studio.run import client_of, told
from generation.studio.tabs.set_counts import Counts, counts_panel
from vqvae.attributes import ATTRIBUTES, AttributeName

_LOOKS = 1.0
# What else may be said of the people.
_TOLD: tuple[AttributeName, ...] = ("group", "gender", "age")


def set_tab(page: Page) -> None:
    """Build the tab. The browser remembers which set is its own, so that the page may be loaded anew meanwhile."""
    t = page.t
    with gr.Row(elem_classes="sides"):
        with gr.Column(scale=5, min_width=300):
            gr.Markdown(t("set.help"), elem_classes="hint")
            counts = counts_panel(page)
            told = {name: _told(page, name) for name in _TOLD}
            with gr.Row():
                seed = gr.Number(0, label=t("make.seed"), precision=0, minimum=0, min_width=110)
                valid = gr.Slider(0, 0.9, 0.1, step=0.05, label=t("set.valid"), min_width=170)
            form = gr.Radio([(t("set.folders"), "folders"), (t("set.parquet"), "parquet")], value="folders", label=t("set.form"))
            go = gr.Button(t("set.button"), variant="primary", elem_id="set")
        with gr.Column(scale=2, min_width=320):
            say = gr.HTML(note(""), apply_default_css=False, elem_id="set-say")
            view = gr.HTML(empty(t("set.empty")), apply_default_css=False, elem_id="set-view")
            with gr.Row(visible=False, elem_classes="act") as acts:
                cancel = gr.Button(t("set.cancel"), min_width=110, elem_id="set-cancel")
                resume = gr.Button(t("set.resume"), variant="primary", min_width=110, visible=False, elem_id="set-resume")
                delete = gr.Button(t("set.delete"), min_width=110, elem_id="set-delete")
            with gr.Column(visible=False) as box:
                again = again_box(page)
    mine = gr.BrowserState(None, storage_key=f"mimique-set-{t.language}")
    clock = gr.Timer(_LOOKS, active=False)
    shown = [view, acts, cancel, resume, box, *again, clock]

    def look(number: str | None) -> Any:
        return _looked(page, number)

    def start(request: gr.Request, *values: Any) -> Any:
        say, number = _started(page, counts, values, request)
        # Shown with the answer, and not only when the browser says that it has remembered.
        return (say, number, *_looked(page, number)) if number else (say, *[gr.skip()] * (1 + len(shown)))

    def act(what: str) -> Any:
        def do(number: str | None) -> Any:
            job = _found(page, number)
            if job is not None and what == "cancel":
                job.cancel()
            elif job is not None:
                page.engine.jobs.resume(job.id)
            return _looked(page, number)

        return do

    def remove(number: str | None) -> Any:
        job = _found(page, number)
        if job is not None:
            page.engine.jobs.delete(job.id)
        return None, *_looked(page, None)

    # Who is counted is not said twice.
    counts.by.input(
        lambda by: [gr.Dropdown(visible=_can_tell(page, name) and name != by) for name in told],
        [counts.by],
        [*told.values()],
        **EVENT,
    )
    go.click(start, [seed, valid, form, *told.values(), *counts.inputs], [say, mine, *shown], **EVENT)
    cancel.click(act("cancel"), [mine], shown, **EVENT)
    resume.click(act("resume"), [mine], shown, **EVENT)
    delete.click(remove, [mine], [mine, *shown], **EVENT)
    clock.tick(look, [mine], shown, **EVENT)
    # When the browser has remembered.
    mine.change(look, [mine], shown, **EVENT)


def _can_tell(page: Page, name: AttributeName) -> bool:
    return name in page.engine.model.attributes


def _told(page: Page, name: AttributeName) -> gr.Dropdown:
    """One of the classes, each alike, or as it comes; hidden where these weights cannot be told."""
    t, choices = page.t, list[tuple[str, str | None]]()
    if _can_tell(page, name):
        choices = [(t("set.even"), "even"), (t("make.free"), "any"), *((t(f"class.{each}"), each) for each in ATTRIBUTES[name])]
    choices = choices or [(t("make.free"), None)]
    return gr.Dropdown(choices, value=choices[0][1], label=t(f"make.{name}"), visible=len(choices) > 1)


def _found(page: Page, number: Any) -> Job | None:
    """The set of that name; None where it was deleted, or of an earlier start of the program."""
    try:
        return page.engine.jobs[number] if isinstance(number, str) else None
    except KeyError:
        return None


def _started(page: Page, counts: Counts, values: Any, request: Any) -> Any:
    """Status, and the name of the set; None where none was begun."""
    t, wrong = page.t, list[str]()
    seed, valid, form, *rest = values
    about, numbers = dict(zip(_TOLD, rest, strict=False)), rest[len(_TOLD) :]
    with told(wrong.append, t):
        wanted = counts.read(numbers, t)
        about[numbers[0]] = None
        own = {"seed": int(seed or 0), "valid": float(valid), "format": form, **about}
        given = {name: value for name, value in own.items() if value is not None}
        job = page.engine.start_dataset(validate(DatasetOrder, {"counts": wanted, **given}, "order"), client=client_of(request))
        return note(t("set.started")), job.id
    return note(wrong[0], "wrong"), None


def _looked(page: Page, number: Any) -> Any:
    """View, row of buttons, whether each is of use, box, command, Python, and whether to look again."""
    job = _found(page, number)
    if job is None:
        hidden = gr.Row(visible=False)
        return empty(page.t("set.empty")), hidden, gr.skip(), gr.skip(), gr.Column(visible=False), "", "", gr.Timer(active=False)
    state = job.state
    working = state.state in ("waiting", "running")
    resumes = state.state in ("cancelled", "failed")
    return (
        progress(state, page),
        gr.Row(visible=True),
        gr.Button(visible=working),
        gr.Button(visible=resumes),
        gr.Column(visible=True),
        state.command,
        state.python,
        gr.Timer(active=working),
    )


def progress(state: JobState, page: Page) -> str:
    """How far a set is, and, when it is done, where it is."""
    t = page.t
    line = t(f"set.{state.state}", done=state.done, count=state.asked)
    left = "" if state.seconds_left is None else t("set.left", time=t.seconds(state.seconds_left))
    parts = [f'<p class="note{" work" if state.state == "running" else ""}" role="status">{escape(line)} {escape(left)}</p>']
    if state.problem:
        parts.append(f'<p class="note wrong" role="alert">{escape(state.problem)}</p>')
    label = escape(t("set.progress"), quote=True)
    parts.append(f'<progress max="{state.asked}" value="{state.done}" aria-label="{label}"></progress>')
    if state.state == "done":
        parts.append(
            f'<a class="take" href="/v1/jobs/{escape(state.id, quote=True)}/set.zip" download>{escape(t("set.take"))}</a>'
        )
        parts.append(f'<p class="note">{escape(t("set.whole" if state.complete else "set.part"))}</p>')
    return f'<div class="set">{"".join(parts)}</div>'
