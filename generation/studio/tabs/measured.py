"""Measured: what may be claimed, and the pages and cards that say how it was found."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import escape
from pathlib import Path

import gradio as gr

from engine.storage.weights import resolve_folder
from generation.studio.page import EVENT, Page

# Beside the packages in a checkout; what is installed has the cards of its weights only.
DOCS = Path(__file__).resolve().parents[3] / "docs"
REPORTS = {"encoder_report.html": "encoder", "generation_report.html": "generation"}
# Before the others, in this order.
_FIRST = ("index", "believable_faces", "encoder", "intensity", "identity", "speed")
_FRONT = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_PICTURE = re.compile(r"!\[([^\]]*)\]\((?:\.\./)*([\w.-]+)\)")
_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((?!https?://)[^)]*\)")


def measured_tab(page: Page) -> None:
    """Build the tab."""
    t, found = page.t, pages(page.engine.settings.weights)
    gr.Markdown(f"### {t('measured.claims')}\n\n{t('measured.may')}\n\n{t('measured.never')}", elem_id="claims")
    links = " · ".join(
        f'<a href="/measured/{name}" target="_blank" rel="noopener">{escape(t(f"measured.{words}"))}</a>'
        for name, words in REPORTS.items()
        if name in files()
    )
    if links:
        gr.HTML(f'<p class="note">{links}</p>', apply_default_css=False)
    if not found:
        return
    first = next(iter(found))
    choice = gr.Dropdown(list(found), value=first, label=t("measured.page"), elem_id="measured-page")
    text = gr.Markdown(_text(found[first]), elem_id="measured-text", elem_classes="report")
    choice.input(lambda name: _text(found[name]) if name in found else "", [choice], [text], **EVENT)


def pages(weights: str) -> Mapping[str, Path]:
    """Files of Markdown by their titles: measured pages of a checkout, and cards of the weights."""
    measured = sorted((DOCS / "measured").glob("*.md"), key=lambda path: (path.stem not in _FIRST, _place(path), path.stem))
    claims = DOCS / "responsible" / "claims.md"
    cards = sorted(resolve_folder(weights).glob("*/README.md"))
    every = [*measured, *([claims] if claims.is_file() else []), *cards]
    return {_title(path): path for path in every}


def files() -> Mapping[str, Path]:
    """What the pages show besides their text, by the name under which it is served; nothing else is."""
    pictures = {path.name: path for path in DOCS.glob("*.png")}
    return {**pictures, **{name: DOCS / name for name in REPORTS if (DOCS / name).is_file()}}


def _place(path: Path) -> int:
    return _FIRST.index(path.stem) if path.stem in _FIRST else len(_FIRST)


def _title(path: Path) -> str:
    heads = (line[2:].strip() for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("# "))
    return next(heads, path.stem)


def _text(path: Path) -> str:
    """A page as it is shown here: its pictures from this server, its links to other pages as plain words."""
    text = _COMMENT.sub("", _FRONT.sub("", path.read_text(encoding="utf-8")))
    text = _PICTURE.sub(lambda found: f"![{found[1]}](/measured/{found[2]})" if found[2] in files() else "", text)
    return _LINK.sub(r"\1", text)
