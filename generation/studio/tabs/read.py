"""Read: the emotions that people would be likely to see in the faces of pictures, of a video, or before the camera."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import gradio as gr

from configs.cli import UserError
from configs.loader import validate
from configs.wording import one_line
from generation.service.orders import ReadOrder, ReadResult
from generation.service.uploads import is_video
from generation.studio.cards import empty, face_grid, note
from generation.studio.page import EVENT, Page, again_box
from generation.studio.parts import FilesIn
from generation.studio.photos import boxed, read_card, said_of, shown
from generation.studio.run import client_of, session_of, told, watched
from generation.studio.tables import Named, csv_of, rows_of, timeline_of
from generation.studio.tabs.camera import camera_panel

# More belong to the command line, which takes folders.
MOST = 24
# Faces whose bars are shown; the table has all.
_CARDS = 24


def read_tab(page: Page) -> None:
    """Build the tab."""
    t = page.t
    with gr.Row(elem_classes="sides"):
        with gr.Column(scale=2, min_width=300, elem_classes="ask"):
            given = FilesIn(
                label=t("read.files", most=MOST),
                file_count="multiple",
                file_types=["image", "video"],
                height=170,
                elem_id="read-files",
            )
            gr.Markdown(t("read.kept"), elem_classes="hint")
            largest = gr.Checkbox(False, label=t("read.largest"))
            every = gr.Slider(1, 30, 5, step=1, label=t("read.every"), info=t("read.every_help"))
            with gr.Row(elem_classes="act"):
                explain = gr.Button(t("read.explain"), scale=3, visible=False, elem_id="explain")
                stop = gr.Button(t("make.stop"), scale=1, min_width=90)
            camera_panel(page)
        with gr.Column(scale=5, min_width=320):
            say = gr.HTML(note(""), apply_default_css=False, elem_id="read-say")
            view = gr.HTML(empty(t("read.empty")), apply_default_css=False, elem_id="read-view")
            plot = gr.LinePlot(
                x="time",
                y="share",
                color="emotion",
                x_title=t("read.time"),
                y_title=t("read.share"),
                color_title=t("make.pad"),
                title=t("read.timeline"),
                visible=False,
                height=300,
                elem_id="timeline",
            )
            heads = [t(f"read.{name}") for name in ("picture", "time", "face", "box", "reading")]
            table = gr.Dataframe(
                headers=heads, datatype="str", interactive=False, visible=False, wrap=True, max_height=320, elem_id="read-table"
            )
            csv = gr.DownloadButton(t("read.csv"), visible=False, elem_id="read-csv")
            with gr.Column(visible=False) as box:
                again = again_box(page, photo=True)
    kept = gr.State(None, time_to_live=3600)
    outputs = [say, view, plot, table, csv, box, kept, explain, *again]

    async def read(request: gr.Request, paths: list[str] | None, largest: bool, every: float) -> AsyncIterator[Any]:
        async for each in _read(page, paths or [], None, largest, every, request):
            yield each

    async def why(request: gr.Request, kept: Any, largest: bool, every: float) -> AsyncIterator[Any]:
        async for each in _read(page, [], kept, largest, every, request):
            yield each

    # The box for files empties itself, so that the next may be dropped; what it held is read already.
    given.upload(read, [given, largest, every], outputs, **EVENT).then(lambda: None, None, [given], **EVENT)
    explain.click(why, [kept, largest, every], outputs, **EVENT)

    def end(request: gr.Request) -> None:
        page.latest.stop(session_of(request), "read")

    stop.click(end, None, None, queue=False, **EVENT)


async def _read(
    page: Page, paths: list[str], kept: list[tuple[str, bytes]] | None, largest: bool, every: float, request: Any
) -> AsyncIterator[Any]:
    """Read uploads, or once more, with what spoke for each emotion, the pictures that were ``kept`` in memory."""
    t, session, keep = page.t, session_of(request), gr.skip()
    if len(paths) > MOST or not (paths or kept):
        for path in paths:
            page.files.drop(path)
        yield note(t("read.much" if paths else "read.first", most=MOST), "wrong"), *(keep,) * 9
        return
    gone, wrong = page.latest.begin(session, "read"), list[str]()
    done, problems = list[Named](), list[str]()
    try:
        total = len(paths) or len(kept or [])
        yield note(t("read.working", done=0, count=total), "work"), *(keep,) * 9
        with told(wrong.append, t, gone):
            order = validate(ReadOrder, {"largest": bool(largest), "every": int(every), "explain": kept is not None}, "order")

            def act(tell: Any, cancelled: Any) -> None:
                who = {"client": client_of(request), "cancelled": cancelled}
                todo: Any = kept or [(one_line(Path(path).name, 80), path) for path in paths]
                for name, what in todo:
                    try:
                        data = what if isinstance(what, bytes) else page.files.take(what, page.engine.settings.video_bytes)
                        read = page.engine.read(data, order, **who)
                        film = is_video(data)
                        tell(Named(name, read, None if film else data, None if film else shown(data, page.engine.settings)))
                    except UserError as error:
                        tell(f"{name}: {error}")

            async for kind, what in watched(act, gone):
                if kind == "end" or not page.latest.is_newest(session, "read", gone):
                    break
                (problems if isinstance(what, str) else done).append(what)
                line = t("read.working", done=len(done) + len(problems), count=total)
                yield note(line, "work"), _view(page, done), *(keep,) * 8
        if page.latest.is_newest(session, "read", gone):
            yield _shown(page, done, [*wrong, *problems])
    finally:
        for path in paths:
            page.files.drop(path)
        page.latest.finish(session, "read", gone)


def _shown(page: Page, done: list[Named], problems: list[str]) -> Any:
    """Status, view, plot, table, CSV, box, pictures in memory, whether they can be explained, command and Python."""
    t = page.t
    rows = rows_of(done, t)
    faces = len(rows)
    line = t("read.done", count=faces, seconds=t.number(sum(each.read.seconds for each in done), 1))
    said = note(" · ".join(problems), "wrong") if problems else note(line if faces else t("edit.none"), "" if faces else "wrong")
    if not rows:
        hidden = gr.Column(visible=False)
        gone = (gr.LinePlot(visible=False), gr.Dataframe(visible=False), gr.DownloadButton(visible=False), hidden, None)
        return said, _view(page, done) if done else empty(t("read.empty")), *gone, gr.Button(visible=False), "", ""
    timeline = timeline_of(done, t)
    plot = gr.LinePlot(value=timeline, visible=True) if timeline is not None else gr.LinePlot(visible=False)
    pictures = [(each.name, each.data) for each in done if each.data is not None]
    last = done[-1].read
    return (
        said,
        _view(page, done),
        plot,
        gr.Dataframe(value=rows, visible=True),
        gr.DownloadButton(value=page.files.give("faces.csv", csv_of(done)), visible=True),
        gr.Column(visible=True),
        pictures or None,
        gr.Button(visible=bool(pictures)),
        last.command,
        last.python,
    )


def _view(page: Page, done: list[Named]) -> str:
    """Pictures with their boxes, and the bars of their faces."""
    t, parts, left = page.t, list[str](), _CARDS
    for each in done:
        found = [face for face in each.read.faces if face.problem is None]
        if each.shown is None:
            parts.append(note(_film(page, each.name, each.read)))
            continue
        cards = [read_card(face, number, t) for number, face in enumerate(found[: max(0, left)])]
        left -= len(cards)
        picture = boxed(each.shown, found, (each.read.width, each.read.height), t)
        parts.append(f'<section class="reading">{picture}{face_grid(cards, t("read.faces"), "small")}</section>')
    return "".join(parts)


def _film(page: Page, name: str, read: ReadResult) -> str:
    found = [face for face in read.faces if face.problem is None]
    most = max(found, key=lambda face: face.score or 0.0, default=None)
    return page.t("read.film", name=name, count=len(found), emotion="–" if most is None else said_of(most, page.t))
