"""Orders of the page: in threads of their own, news of them as they come, ended where nobody waits for them any more."""

from __future__ import annotations

import asyncio
import logging
import re
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import contextmanager
from typing import Any

from configs.cli import UserError
from generation.service.admission import Busy
from generation.service.turns import Ended
from generation.studio.texts import Texts

_LOG = logging.getLogger("mimique.studio")
_SESSION = re.compile(r"[\w-]{1,64}", re.ASCII)


class Latest:
    """The newest order of each session and tab: an older one ends when another comes, as does one that is stopped."""

    def __init__(self) -> None:
        self._running: dict[tuple[str, str], threading.Event] = {}
        self._lock = threading.Lock()

    def begin(self, session: str, tab: str) -> threading.Event:
        """End the former; what is set when this one is to end."""
        gone = threading.Event()
        with self._lock:
            former = self._running.get((session, tab))
            self._running[session, tab] = gone
        if former is not None:
            former.set()
        return gone

    def finish(self, session: str, tab: str, gone: threading.Event) -> None:
        """Forget an order that has ended."""
        gone.set()
        with self._lock:
            if self._running.get((session, tab)) is gone:
                del self._running[session, tab]

    def is_newest(self, session: str, tab: str, gone: threading.Event) -> bool:
        """Whether what it finds is still to be shown."""
        with self._lock:
            return self._running.get((session, tab)) is gone

    def stop(self, session: str, tab: str) -> None:
        """End it, with what it has by then."""
        with self._lock:
            gone = self._running.get((session, tab))
        if gone is not None:
            gone.set()

    def leave(self, session: str) -> None:
        """End all of a session: its page was closed or loaded anew."""
        with self._lock:
            running = [gone for (owner, _), gone in self._running.items() if owner == session]
        for gone in running:
            gone.set()


def session_of(request: Any) -> str:
    """The browser's page behind a request: its own name is taken only where it is a plain word."""
    name = getattr(request, "session_hash", None) or ""
    return name if _SESSION.fullmatch(name) else "-"


def client_of(request: Any) -> str:
    """Whose order it is, to the limits of the engine: those of one address share a limit, too."""
    client = getattr(request, "client", None)
    return f"{client.host if client else '-'}/{session_of(request)}"


async def watched(act: Callable[[Callable[[Any], object], Callable[[], bool]], Any], gone: threading.Event) -> AsyncIterator[Any]:
    """What ``act(tell, cancelled)`` tells, and last what it returns, as ``("news", what)`` and ``("end", result)``.

    It runs in a thread of its own. Raises what it raises; an order that ended by ``gone`` raises Ended. Whoever stops
    listening ends the order.
    """
    loop = asyncio.get_running_loop()
    events: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()

    def put(kind: str, what: Any) -> None:
        # The page's server may have ended before the order did.
        if not loop.is_closed():
            loop.call_soon_threadsafe(events.put_nowait, (kind, what))

    def work() -> None:
        try:
            put("end", act(lambda what: put("news", what), gone.is_set))
        except BaseException as error:
            put("error", error)

    threading.Thread(target=work, name="order", daemon=True).start()
    try:
        while True:
            kind, what = await events.get()
            if kind == "error":
                # Ended is a KeyboardInterrupt, which would end the loop.
                raise Stopped(what) if isinstance(what, Ended) else what
            yield kind, what
            if kind == "end":
                return
    finally:
        gone.set()


class Stopped(Exception):
    """An order ended without a result."""


@contextmanager
def told(say: Callable[[str], object], t: Texts, gone: threading.Event | None = None) -> Any:
    """Call ``say`` with a line for the reader where something goes wrong within; a defect is logged, and not told."""
    try:
        yield
    except Stopped:
        say(t("note.stopped") if gone is not None and gone.is_set() else t("note.ended"))
    except Busy as error:
        say(t("note.busy", why=str(error)))
    except UserError as error:
        say(str(error))
    except Exception:
        _LOG.exception("a defect of the program")
        say(t("note.defect"))
