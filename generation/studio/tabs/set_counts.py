"""How many faces of whom a set is to hold: of each emotion, or in a table also of each gender, age or group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import gradio as gr

from configs.cli import UserError
from encoder.emotions import EMOTION_NAMES
from generation.dataset.counts import table_counts
from generation.settle import even_classes
from generation.studio.page import EVENT, Page
from generation.studio.texts import Texts
from vqvae.attributes import ATTRIBUTES, AttributeName

_EACH = 4
_EMOTION = "emotion"
_COUNTED: tuple[AttributeName, ...] = ("gender", "age", "group")


class Counts(NamedTuple):
    """The controls, whose values :meth:`read` takes in their order, and by what is counted."""

    inputs: list[Any]
    by: gr.Radio
    attributes: tuple[AttributeName, ...]

    def read(self, values: Sequence[Any], t: Texts) -> dict[str, int]:
        """Faces by cell, of those that are asked for. Raises UserError: none, or what is no number."""
        by, *rest = values
        boxes, tables = rest[: len(EMOTION_NAMES)], rest[len(EMOTION_NAMES) :]
        head, rows = ["emotion", "faces"], [list(pair) for pair in zip(EMOTION_NAMES, boxes, strict=True)]
        if by != _EMOTION:
            # Its rows begin with names in the page's language, which are names in orders, too.
            head, rows = ["emotion", *ATTRIBUTES[by]], tables[self.attributes.index(by)]
        counts = table_counts([head, *rows], t("set.counts"))
        if not counts:
            raise UserError(t("set.none"))
        return counts


def counts_panel(page: Page) -> Counts:
    """Build the controls."""
    t = page.t
    attributes = tuple(name for name in _COUNTED if name in page.engine.model.attributes)
    choices = [(t("set.by_emotion"), _EMOTION), *((t(f"set.by_{name}"), name) for name in attributes)]
    by = gr.Radio(choices, value=_EMOTION, label=t("set.by"), visible=len(choices) > 1, elem_id="set-by")
    every = gr.Slider(0, 100, _EACH, step=1, label=t("set.every"), elem_id="set-every")
    with gr.Group(elem_classes="counts") as group, gr.Row():
        boxes = [
            gr.Number(_EACH, label=t.emotion(name), precision=0, minimum=0, min_width=100, elem_id=f"set-{name}")
            for name in EMOTION_NAMES
        ]
    tables = [_table(name, t) for name in attributes]
    hint = gr.Markdown(t("set.table_help"), visible=False, elem_classes="hint")
    total = gr.Markdown(elem_classes="hint", elem_id="set-total")
    counts = Counts([by, *boxes, *tables], by, attributes)

    def fill(count: int) -> Any:
        return *([count] * len(boxes)), *(_rows(name, t, count) for name in attributes)

    def show(by: str) -> Any:
        tabled = [gr.Dataframe(visible=name == by) for name in attributes]
        counted = gr.Group(visible=by == _EMOTION), *tabled, gr.Markdown(visible=by != _EMOTION)
        return *counted, gr.Slider(label=t("set.every" if by == _EMOTION else "set.every_cell"))

    def add_up(*values: Any) -> str:
        try:
            return t("set.total", count=sum(counts.read(values, t).values()))
        except UserError as error:
            return str(error)

    every.release(fill, [every], [*boxes, *tables], **EVENT)
    by.input(show, [by], [group, *tables, hint, every], **EVENT)
    gr.on([each.change for each in counts.inputs], add_up, counts.inputs, [total], **EVENT)
    return counts


def _table(name: AttributeName, t: Texts) -> gr.Dataframe:
    words = [t(f"class.{word}") for word in ATTRIBUTES[name]]
    return gr.Dataframe(
        _rows(name, t, _EACH),
        headers=[t("make.pad"), *words],
        datatype=["str", *["number"] * len(words)],
        type="array",
        column_widths=["110px", *(f"{max(70, 30 + 8 * len(word))}px" for word in words)],
        pinned_columns=1,
        static_columns=[0],
        interactive=True,
        visible=False,
        show_label=False,
        buttons=[],
        elem_classes="counts",
        elem_id=f"set-table-{name}",
    )


def _rows(name: AttributeName, t: Texts, count: int) -> list[list[Any]]:
    """A row an emotion; none of the classes that are drawn only where they are asked for."""
    usual = even_classes(name)
    return [
        [t.emotion(each), *(count if number in usual else 0 for number in range(len(ATTRIBUTES[name])))] for each in EMOTION_NAMES
    ]
