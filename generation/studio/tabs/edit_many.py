"""Many photographs at once: the largest face of each gets the expression, and all go into one ZIP."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import gradio as gr

from configs.cli import UserError
from configs.wording import one_line
from generation.files import made_now
from generation.service.again import edit_again
from generation.studio.cards import note
from generation.studio.files import archive
from generation.studio.page import EVENT, Page, edit_order
from generation.studio.parts import FilesIn
from generation.studio.run import client_of, session_of, told, watched

# More belong to the command line, which takes folders.
MOST = 50
_PLAIN = re.compile(r"[^\w.-]+", re.ASCII)


def many_panel(page: Page, asked: list[Any]) -> None:
    """Build the panel. ``asked``: emotion, intensity, region, count and seed, as for one photograph."""
    t = page.t
    with gr.Accordion(t("many.title"), open=False, elem_id="many"):
        gr.Markdown(t("many.help", most=MOST), elem_classes="hint")
        given = FilesIn(label=t("many.files"), file_count="multiple", file_types=["image"], height=150, elem_id="many-files")
        with gr.Row(elem_classes="act"):
            go = gr.Button(t("many.button"), variant="primary", elem_id="many-go")
            stop = gr.Button(t("make.stop"), scale=0, min_width=90)
        say = gr.HTML(note(""), apply_default_css=False)
        heads = [t("many.name"), t("many.result"), t("many.match")]
        table = gr.Dataframe(headers=heads, datatype="str", interactive=False, visible=False, wrap=True, elem_id="many-table")
        zipped = gr.DownloadButton(t("edit.zip"), visible=False, elem_id="many-zip")

    async def change(request: gr.Request, paths: list[str] | None, *values: Any) -> AsyncIterator[Any]:
        async for each in _changed(page, paths or [], values, request):
            yield each

    go.click(change, [given, *asked], [say, table, zipped, given], **EVENT)

    def end(request: gr.Request) -> None:
        page.latest.stop(session_of(request), "many")

    stop.click(end, None, None, queue=False, **EVENT)


async def _changed(page: Page, paths: list[str], values: Any, request: Any) -> AsyncIterator[Any]:
    """Status, table, ZIP and the emptied upload."""
    t, session, hidden = page.t, session_of(request), gr.DownloadButton(visible=False)
    if not paths or len(paths) > MOST:
        # What is refused leaves no copy either.
        for path in paths:
            page.files.drop(path)
        yield note(t("many.few" if not paths else "many.much", most=MOST), "wrong"), gr.skip(), hidden, None
        return
    gone, wrong = page.latest.begin(session, "many"), list[str]()
    rows, files, records = list[list[str]](), dict[str, bytes](), list[dict[str, Any]]()
    try:
        with told(wrong.append, t, gone):
            order = edit_order(values)
            yield note(t("many.working", done=0, count=len(paths)), "work"), gr.skip(), hidden, None

            def act(tell: Any, cancelled: Any) -> None:
                who = {"client": client_of(request), "cancelled": cancelled}
                for number, path in enumerate(paths):
                    name = one_line(Path(path).name, 80)
                    try:
                        data = page.files.take(path, page.engine.settings.picture_bytes)
                        tell((number, name, page.engine.edit(order, data, **who), None))
                    except UserError as error:
                        tell((number, name, None, str(error)))

            async for kind, what in watched(act, gone):
                if kind == "end":
                    break
                number, name, result, problem = what
                record: dict[str, Any] = {"given": name, "problem": problem}
                if result is not None:
                    best = result.proposals[0]
                    record["file"] = f"{number:02d}-{_PLAIN.sub('_', Path(name).stem)[:40]}.png"
                    record |= best.model_dump(mode="json", exclude={"png", "close_up"})
                    files[record["file"]] = best.png
                    rows.append([name, f"{t.emotion(best.top)} {t.percent(best.distribution[best.top])}", t.percent(best.match)])
                else:
                    rows.append([name, str(problem), "–"])
                records.append(record)
                line = t("many.working", done=len(rows), count=len(paths))
                yield note(line, "work"), gr.Dataframe(value=rows, visible=True), hidden, gr.skip()
        said = note(wrong[0], "wrong") if wrong else note(t("many.done", done=len(files), count=len(paths)))
        if files:
            command, python = edit_again(order, page.engine.settings.weights, page.engine.settings.mark_edits)
            made = archive(files, {**made_now(), "command": command, "python": python, "pictures": records})
            yield said, gr.skip(), gr.DownloadButton(value=page.files.give("edits.zip", made), visible=True), gr.skip()
        else:
            yield said, gr.skip(), hidden, gr.skip()
    finally:
        for path in paths:
            page.files.drop(path)
        page.latest.finish(session, "many", gone)
