"""What the tabs of the page share: engine, words, files, and the parts that every tab has."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from generation.service.engine import Engine
from generation.studio.files import Files
from generation.studio.run import Latest
from generation.studio.texts import Texts

# The page is no interface for programs: that is HTTP, which the service has beside it.
EVENT: dict[str, Any] = {"api_visibility": "private", "concurrency_limit": None, "show_progress": "hidden"}


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
    from encoder.emotions import EMOTION_NAMES

    return [(t.emotion(name), name) for name in EMOTION_NAMES]
