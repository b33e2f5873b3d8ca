"""What stands before every request: is it meant for this service, from a page of its own, from somebody who may, of a size and
speed that it can bear. And what every answer says to browsers."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from generation.service.http.access import Access
from generation.service.http.problems import problem

ACCESS_LOG = logging.getLogger("mimique.access")
# For answers that are no page: nothing may be loaded, nobody may frame it.
NO_PAGE = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
_ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "geolocation=(), microphone=(), camera=(self)",
    "Cache-Control": "no-store",
}
# Asked by whoever starts containers, without a secret.
_FOR_ALL = "/v1/health"


class _TooMuch(HTTPException):
    """The body of a request is larger than allowed, or too slow. The application answers it as any of its problems."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(status, detail, headers={"Connection": "close"})


class Guard:
    """An ASGI application before another.

    Args:
        policy: the Content-Security-Policy of the answers.
        open_paths: paths, besides that of the health check, that need no secret.
    """

    def __init__(self, app: ASGIApp, access: Access, *, policy: str = NO_PAGE, open_paths: Iterable[str] = ()) -> None:
        self._app, self._access, self._policy = app, access, policy
        self._open = {_FOR_ALL, *open_paths}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it with a problem. WebSockets are closed: nothing here needs them."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.monotonic(), 0

        async def answered(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in {**_ALWAYS, "Content-Security-Policy": self._policy}.items():
                    headers.setdefault(name, value)
            # Who does not take an answer must not hold it for ever: the server closes the connection.
            await asyncio.wait_for(send(message), self._access.send_seconds)

        try:
            refused = self._refused(scope)
            if refused is not None:
                await problem(*refused[:2], headers=refused[2])(scope, receive, answered)
                return
            await self._app(scope, self._bounded(scope, receive), answered)
        finally:
            # Neither query nor body, and of the path what the program calls it: an id is a secret, a wrong path anything.
            path = getattr(scope.get("route"), "path", "-")
            client = (scope.get("client") or ("-", 0))[0]
            seconds = time.monotonic() - started
            ACCESS_LOG.info("%s %s %s %s %.3f s", client, scope["method"], path, status or "closed", seconds)

    def _refused(self, scope: Scope) -> tuple[int, str, dict[str, str]] | None:
        headers, access = Headers(scope=scope), self._access
        size = len(scope["path"]) + len(scope["query_string"]) + sum(len(name) + len(value) + 4 for name, value in headers.raw)
        if size > access.head_bytes:
            return 431, f"the head of a request may have {access.head_bytes:,} bytes", {"Connection": "close"}
        host, origin, site = headers.get("host", ""), headers.get("origin"), headers.get("sec-fetch-site")
        if not access.knows(host):
            return 421, "this service does not go by that name; its operator may add it with --name", {}
        own = origin is None or access.same_origin(origin, host)
        visited = headers.get("sec-fetch-mode") == "navigate" and scope["method"] in ("GET", "HEAD")
        if not own or (site in ("cross-site", "same-site") and not visited):
            return 403, "pages of other sites may not use this service", {}
        if scope["path"] not in self._open and not access.admits(headers):
            wanted = 'Basic realm="mimique"' if access.auth else "Bearer"
            return 401, "this service asks for a user and password, or a token", {"WWW-Authenticate": wanted}
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length[:20]) > self._most(headers):
            return 413, f"more than {self._most(headers):,} bytes", {"Connection": "close"}
        return None

    def _most(self, headers: Headers) -> int:
        upload = headers.get("content-type", "").lower().startswith("multipart/form-data")
        return self._access.upload_bytes if upload else self._access.order_bytes

    def _bounded(self, scope: Scope, receive: Receive) -> Receive:
        most, left = self._most(Headers(scope=scope)), time.monotonic() + self._access.body_seconds
        read, whole = 0, False

        async def bounded() -> Message:
            nonlocal read, whole
            if whole:
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), max(0.0, left - time.monotonic()))
            except TimeoutError:
                raise _TooMuch(408, "the request came too slowly") from None
            read += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if read > most:
                raise _TooMuch(413, f"more than {most:,} bytes")
            return message

        return bounded
