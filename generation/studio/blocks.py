"""The page: its head, a tab for each task, its foot."""

from __future__ import annotations

from html import escape

import gradio as gr

from generation.studio.cards import SIGN
from generation.studio.page import Page
from generation.studio.run import session_of
from generation.studio.tabs.edit import edit_tab
from generation.studio.tabs.make import make_tab
from generation.studio.tabs.measured import measured_tab
from generation.studio.tabs.read import read_tab
from generation.studio.tabs.sets import set_tab
from generation.studio.texts import LANGUAGES


def create_blocks(page: Page) -> gr.Blocks:
    """One language of the page."""
    t = page.t
    with gr.Blocks(title=f"{t('title')} – {t('tagline')}", analytics_enabled=False, fill_width=True) as blocks:
        gr.HTML(_head(page), apply_default_css=False)
        with gr.Tabs() as tabs:
            with gr.Tab(t("make.tab"), id="make"):
                person = make_tab(page)
            with gr.Tab(t("edit.tab"), id="edit"):
                edit_tab(page, person, tabs)
            with gr.Tab(t("read.tab"), id="read"):
                read_tab(page)
            with gr.Tab(t("set.tab"), id="set"):
                set_tab(page)
            with gr.Tab(t("measured.tab"), id="measured"):
                measured_tab(page)
        gr.HTML(_foot(page), apply_default_css=False)

        def leave(request: gr.Request) -> None:
            page.latest.leave(session_of(request))

        blocks.unload(leave)
    # Orders wait in the engine, where they are drawn together; the queue of the page must not hold them up.
    blocks.queue(default_concurrency_limit=None, max_size=page.engine.settings.most_waiting_all, api_open=False)
    return blocks


def _head(page: Page) -> str:
    t = page.t
    other = next(language for language in LANGUAGES if language != t.language)
    link = f'<a href="/{other}/" hreflang="{other}" lang="{other}">{escape(t("other_language"))}</a>'
    return f'<header class="top"><h1>{SIGN}{escape(t("title"))}</h1><p>{escape(t("tagline"))}</p>{link}</header>'


def _foot(page: Page) -> str:
    lines = "".join(f"<p>{escape(page.t(name))}</p>" for name in ("generated", "private"))
    return f'<div class="bottom">{lines}</div>'
