"""What of Gradio can be reached: the page, its scripts, its events and its files, and nothing else of its many routes."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from generation.service.http.problems import problem
from generation.studio.texts import LANGUAGES

_LOG = logging.getLogger("mimique.studio")
# Gradio's start-up script is inline, and the pad's is made from text ('unsafe-eval'). Nothing comes from elsewhere.
_PAGE = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "media-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self' data: blob:",
        "worker-src 'self' blob:",
        "manifest-src 'self'",
        "frame-src 'self'",
        "frame-ancestors 'none'",
        "base-uri 'self'",
        "form-action 'self'",
    )
)
_PATHS = re.compile(
    rf"/(?:{'|'.join(LANGUAGES)})"
    r"(?:|/|/assets/.+|/static/.+|/svelte/.+|/theme\.css|/config|/favicon\.ico|/manifest\.json"
    r"|/gradio_api/(?:queue/join|queue/data|upload|upload_progress|cancel|reset/?|startup-events|info|app_id|run/predict"
    r"|component_server|heartbeat/\w{1,64}|stream/\w{1,64}(?:/\w+)?|file=/(?!/).+))"
)
# Longer names no file system has.
_LONGEST = 250
_EVENTS = ("/gradio_api/queue/join", "/gradio_api/run/predict")
# Names with a digest of their content, which browsers may keep.
_LASTING = re.compile(r"/\w\w/(?:assets|svelte)/")


class Gate:
    """An ASGI application before another, behind the guard of the service.

    Args:
        has_room: whether another upload may come.
    """

    def __init__(self, app: ASGIApp, has_room: Callable[[], bool]) -> None:
        self._app, self._has_room = app, has_room

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer that there is no such route."""
        if scope["type"] != "http" or not _is_page(scope["path"], LANGUAGES):
            await self._app(scope, receive, send)
            return
        path = scope["path"]
        if len(path) > _LONGEST or not _PATHS.fullmatch(path):
            await problem(404, "no such route")(scope, receive, send)
            return
        if path.endswith("/gradio_api/upload") and not self._has_room():
            said = problem(429, "too many uploads wait to be read; try again later", headers={"Retry-After": "60"})
            await said(scope, receive, send)
            return

        failed = False

        async def answered(message: Message) -> None:
            nonlocal failed
            # Gradio takes an event that it does not have for a failure of its own.
            failed = failed or (message["type"] == "http.response.start" and message["status"] >= 500 and path.endswith(_EVENTS))
            if failed:
                return
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["Content-Security-Policy"] = _PAGE
                if _LASTING.match(path):
                    headers["Cache-Control"] = "private, max-age=86400"
            await send(message)

        try:
            await self._app(scope, receive, answered)
        except Exception as error:
            if not failed:
                raise
            _LOG.warning("an event of the page was not understood (%s)", type(error).__name__)
        if failed:
            await problem(422, "no such event; load the page anew")(scope, receive, send)


def _is_page(path: str, languages: Iterable[str]) -> bool:
    return any(path == f"/{each}" or path.startswith(f"/{each}/") for each in languages)
