"""Who may come in: so many orders of one client, as many of all as can be met in time, and none while memory is short."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock

from configs.cli import UserError
from generation.service.settings import MIB, EngineSettings

# What is told to who is turned away, in seconds: about what an order takes on two cores.
_OWN_FULL, _ALL_FULL = 5, 15


class Busy(UserError):
    """An order is turned away for now.

    Attributes:
        retry_after: seconds after which it may be tried again.
        whose: ``client``: it has enough orders waiting already; ``all``: the engine has; ``memory``: that is short.
    """

    def __init__(self, message: str, retry_after: int, whose: str) -> None:
        super().__init__(message)
        self.retry_after, self.whose = retry_after, whose


class Admission:
    """Counts the orders that are inside.

    Args:
        expected: seconds until all that waits is computed.

    Attributes:
        turned_away: by whose limit.
    """

    def __init__(self, settings: EngineSettings, expected: Callable[[], float] = lambda: 0.0) -> None:
        self._settings, self._expected = settings, expected
        self._inside: Counter[str] = Counter()
        self._lock = Lock()
        self.turned_away: Counter[str] = Counter()

    @property
    def inside(self) -> int:
        """Orders of all clients."""
        with self._lock:
            return self._inside.total()

    @contextmanager
    def admit(self, client: str) -> Iterator[None]:
        """Hold a place while an order is worked on. Raises Busy: there is none.

        Args:
            client: whose order it is: an address, or ``ADDRESS/NAME`` of one of the clients there.
        """
        settings, address = self._settings, client.partition("/")[0]
        with self._lock:
            here = sum(count for name, count in self._inside.items() if name.partition("/")[0] == address)
            if here >= settings.most_waiting_address:
                raise self._away(f"{here} orders of this address are waiting already", _OWN_FULL, "client")
            if self._inside[client] >= settings.most_waiting:
                raise self._away(f"{settings.most_waiting} orders of this client are waiting already", _OWN_FULL, "client")
            if self._inside.total() >= settings.most_waiting_all:
                raise self._away("too many orders are waiting", _ALL_FULL, "all")
            self._inside[client] += 1
        try:
            # Faces take two draws on average: who waits longer than half of its time would not get all of them.
            if (expected := self._expected()) > settings.seconds / 2:
                raise self._away(f"what waits takes {expected:.0f} seconds already", math.ceil(expected / 2), "all")
            if settings.memory_mib and resident() > settings.memory_mib * MIB:
                raise self._away("memory is short", _ALL_FULL, "memory")
            yield
        finally:
            with self._lock:
                self._inside[client] -= 1
                if not self._inside[client]:
                    del self._inside[client]

    def _away(self, why: str, retry_after: int, whose: str) -> Busy:
        self.turned_away[whose] += 1
        return Busy(f"{why}; try again in {retry_after} seconds", retry_after, whose)


def resident() -> int:
    """Bytes of memory that this process holds."""
    import psutil

    return int(psutil.Process().memory_info().rss)
