"""The page on the service: both languages and all routes of the HTTP service on one engine, behind one guard."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NoReturn

from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.types import ASGIApp

from generation.service.engine import Engine
from generation.service.http.access import Access
from generation.service.http.app import create_routes
from generation.service.http.guard import Guard
from generation.service.http.problems import problem
from generation.studio.cards import SIGN
from generation.studio.files import Files
from generation.studio.gate import Gate
from generation.studio.texts import LANGUAGES, preferred, texts

# Reports hold their pictures and their rules themselves, and no script.
_REPORT = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)


def create_studio(engine: Engine, access: Access | None = None, *, folder: Path) -> ASGIApp:
    """The page and the service on an engine that is open, behind its guard. The engine is not closed with it.

    One a process: Gradio keeps its settings in the environment.

    Args:
        folder: for uploads, until they are read, and downloads; private, and swept after ``engine.settings.kept_seconds``.
    """
    kept = Files(folder, engine.settings.kept_seconds)
    # Read when Gradio is imported: where its files are, and that it tells nobody of its use.
    os.environ.update({"GRADIO_TEMP_DIR": str(kept.folder), "GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1"})
    import gradio as gr
    from gradio import processing_utils

    # Gradio would fetch a file for which a visitor names an address, if it is none of this network.
    processing_utils.async_ssrf_protected_get = _refuse_to_fetch
    from generation.studio.blocks import create_blocks
    from generation.studio.page import Page
    from generation.studio.tabs.measured import files
    from generation.studio.theme import css, theme

    app = create_routes(engine)
    own: dict[str, Any] = {
        "theme": theme(),
        # Not as css: those rules Gradio would confine to a part of the page.
        "head": f"<style>{css()}</style>",
        "footer_links": [],
        "run_history": False,
        "show_error": False,
        "max_file_size": engine.settings.video_bytes,
        "ssr_mode": False,
        "enable_monitoring": False,
        "pwa": False,
        "mcp_server": False,
    }
    for language in LANGUAGES:
        blocks = create_blocks(Page(engine, texts(language), kept))
        # For screen readers; Gradio's page says that it is English.
        spoken = f"() => {{ document.documentElement.lang = '{language}'; }}"
        gr.mount_gradio_app(app, blocks, f"/{language}", js=spoken, **own)

    @app.get("/", include_in_schema=False)
    async def start(request: Request) -> RedirectResponse:
        """To the page in the reader's language."""
        return RedirectResponse(f"/{preferred(request.headers.get('accept-language', ''))}/")

    @app.get("/manifest.json", include_in_schema=False)
    async def name() -> dict[str, str]:
        """Gradio's page asks for it here."""
        return {"name": "Mimique", "start_url": "/"}

    reports = files()

    @app.get("/measured/{name}", include_in_schema=False)
    async def measured(name: str) -> Response:
        """A picture or a report of the measured pages; no other file has a name here."""
        if name not in reports:
            return problem(404, "no such page")
        return FileResponse(reports[name], headers={"Content-Security-Policy": _REPORT})

    @app.get("/favicon.ico", include_in_schema=False)
    async def icon() -> Response:
        return Response(SIGN, media_type="image/svg+xml")

    return Guard(Gate(app, kept.has_room), access or Access())


async def _refuse_to_fetch(_url: str) -> NoReturn:
    raise ValueError("addresses are not fetched")
