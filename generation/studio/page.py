"""What the tabs of the page share: engine, words, files, and the parts that every tab has."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from configs.loader import validate
from encoder.emotions import EMOTION_NAMES
from generation.service.engine import Engine
from generation.service.orders import EditOrder
from generation.studio.files import Files
from generation.studio.run import Latest
from generation.studio.texts import Texts

# The page is no interface for programs: that is HTTP, which the service has beside it.
EVENT: dict[str, Any] = {"api_visibility": "private", "concurrency_limit": None, "show_progress": "hidden"}


# What an expression is made of.
USUAL = ("brows", "eyes", "mouth")


@dataclass(frozen=True)
class Page:
    """One language of the page."""

    engine: Engine
    t: Texts
    files: Files
    latest: Latest = field(default_factory=Latest)


def again_box(page: Page, *, photo: bool = False) -> tuple[gr.Code, gr.Code]:
    """Command line and Python of a result, to be copied."""
    t = page.t
    with gr.Accordion(t("again.title"), open=False, elem_classes="again"):
        command = gr.Code(label=t("again.command"), language="shell", interactive=False, lines=1, wrap_lines=True)
        python = gr.Code(label=t("again.python"), language="python", interactive=False, lines=1, wrap_lines=True)
        if photo:
            gr.Markdown(t("again.files"), elem_classes="hint")
    return command, python


def emotion_choices(t: Texts) -> list[tuple[str, str]]:
    """Names in the page's language, values as orders have them."""
    return [(t.emotion(name), name) for name in EMOTION_NAMES]


def edit_order(values: Any, face: int = 0, **further: Any) -> EditOrder:
    """The order that the controls mean. Raises UserError: it cannot be meant."""
    emotion, intensity, region, count, seed = values
    own = {"emotion": str(emotion), "intensity": float(intensity), "region": ",".join(region or USUAL), "count": int(count)}
    return validate(EditOrder, {**own, "seed": int(seed or 0), "face": face + 1, **further}, "order")
