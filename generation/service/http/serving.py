"""The server: bounded connections, an end that waits for nobody, and one line that says where it is."""

from __future__ import annotations

import socket
from types import FrameType
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from configs.cli import UserError
from engine.storage.open_files import allow_files
from generation.service.engine import Engine
from generation.service.http.access import Access

_BACKLOG = 1024
# Seconds that answers under way have at the end.
_FAREWELL = 5


def listen(access: Access) -> socket.socket:
    """A socket on the address. Raises UserError: it cannot be had."""
    try:
        family, *_, address = socket.getaddrinfo(access.host, access.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        made = socket.socket(family, socket.SOCK_STREAM)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        made.listen(_BACKLOG)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise UserError(f"{access.host}:{access.port}: cannot be listened on: {why}; choose another --port") from None
    return made


def address_of(listening: socket.socket) -> str:
    """The URL to open."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve(app: ASGIApp, engine: Engine, access: Access, listening: socket.socket) -> None:
    """Serve until Ctrl-C or SIGTERM, which then go on to the caller. Orders end at once; the engine is left to be closed."""
    server_of(app, engine, access).run(sockets=[listening])


def server_of(app: ASGIApp, engine: Engine, access: Access) -> uvicorn.Server:
    """The server, for who runs it otherwise."""
    allow_files(access.most_connections + 256)
    config = uvicorn.Config(
        app,
        http=_bounded(access),
        ws="none",
        lifespan="auto",
        access_log=False,
        log_level="warning",
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=int(access.head_seconds),
        timeout_graceful_shutdown=_FAREWELL,
        h11_max_incomplete_event_size=access.head_bytes,
    )
    return _Server(config, engine)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, engine: Engine) -> None:
        super().__init__(config)
        self._engine = engine

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._engine.stop()
        super().handle_exit(sig, frame)


def _bounded(access: Access) -> type[H11Protocol]:
    """A protocol that closes connections whose next request does not come whole in time, and those that are too many."""

    class Bounded(H11Protocol):
        _patience: Any = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            if len(self.connections) > access.most_connections:
                transport.abort()
                return
            self._watch()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._watch()

        def connection_lost(self, exc: Exception | None) -> None:
            self._rest()
            super().connection_lost(exc)

        def _watch(self) -> None:
            """Wait so long for a head; while a request is worked on, its body has a time of its own."""
            if self.cycle is not None and not self.cycle.response_complete:
                self._rest()
            elif self._patience is None:
                self._patience = self.loop.call_later(access.head_seconds, self._give_up)

        def _rest(self) -> None:
            if self._patience is not None:
                self._patience.cancel()
                self._patience = None

        def _give_up(self) -> None:
            self._patience = None
            if not self.transport.is_closing() and (self.cycle is None or self.cycle.response_complete):
                self.transport.abort()

    return Bounded
