"""One worker for the networks: it draws what all orders wait for, as many faces of all clients at once as go together.

Orders run in threads of their own, which decide what to draw next; only this worker's thread computes. What does not go together
takes turns: edits and readings, quick views, faces of each kind. Within a batch so do clients, face by face, those whose order
came first before others: an order of many faces does not keep one of a single face waiting, and none waits for ever.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from generation.draw import FaceModel
from generation.service.together import Draw, Drawn, draw_together

Result = TypeVar("Result")
# Seconds after which who waits looks whether its order is wanted still.
_LOOKS = 0.2


class Ended(KeyboardInterrupt):
    """An order is no longer wanted, out of time, or the engine stops.

    To what draws for the order it is what Ctrl-C is to a command: it ends with the faces that were accepted by then.
    """


@dataclass(frozen=True, eq=False)
class Place:
    """Of one order: whose it is, whether somebody has given it up, by when it must end, and when it came."""

    client: str = "local"
    cancelled: Callable[[], bool] = lambda: False
    deadline: float = float("inf")
    since: float = field(default_factory=time.monotonic)

    @property
    def ended(self) -> bool:
        """Whether nothing more is to be done for it."""
        return self.cancelled() or time.monotonic() > self.deadline


@dataclass(eq=False)
class _Waiting:
    """Draws, or a call, of one order. ``kind``: what has the same takes its turn together."""

    place: Place
    kind: object
    act: Callable[[], Any] | None = None
    draws: deque[tuple[int, Draw]] = field(default_factory=deque)
    found: dict[int, Any] = field(default_factory=dict)
    wanted: int = 1
    error: BaseException | None = None
    done: threading.Event = field(default_factory=threading.Event)

    def give(self, number: int, result: Any) -> None:
        self.found[number] = result
        if len(self.found) == self.wanted:
            self.done.set()

    def fail(self, error: BaseException) -> None:
        self.error = error
        self.done.set()


class Turns:
    """The queue of what is to be computed, and its worker.

    Attributes:
        tally: what was done: ``draws``, ``batches``, ``calls``.
        busy: seconds of computing.
    """

    def __init__(self, model: FaceModel, batch_size: int) -> None:
        self._model, self._batch_size = model, batch_size
        self._changed = threading.Condition()
        self._queue: list[_Waiting] = []
        self._served: dict[object, int] = {}
        self._closed = False
        self.tally: Counter[str] = Counter()
        self.busy = self._drawing = 0.0
        self._worker = threading.Thread(target=self._work, name="networks", daemon=True)
        self._worker.start()

    @property
    def waiting(self) -> int:
        """Draws and calls that nobody has begun."""
        with self._changed:
            return sum(len(each.draws) or 1 for each in self._queue)

    @property
    def expected(self) -> float:
        """Seconds in which all draws that wait now can be made, as draws went until now; 0 before the first."""
        with self._changed:
            waiting = sum(len(each.draws) for each in self._queue)
        return waiting * self._drawing / max(1, self.tally["draws"])

    def draw(self, place: Place, draws: Sequence[Draw]) -> list[Drawn]:
        """What draws of one key give, in their order. Raises Ended: the order has ended before."""
        waiting = _Waiting(place, draws[0].key, draws=deque(enumerate(draws)), wanted=len(draws))
        self._wait(waiting)
        return [waiting.found[number] for number in range(len(draws))]

    def call(self, place: Place, act: Callable[[], Result]) -> Result:
        """What ``act`` returns, called where the networks compute. Raises what it raises, and Ended."""
        waiting = _Waiting(place, "call", act)
        self._wait(waiting)
        return waiting.found[0]

    def _wait(self, waiting: _Waiting) -> None:
        if waiting.place.ended:
            raise Ended
        with self._changed:
            if self._closed:
                raise Ended
            self._queue.append(waiting)
            self._changed.notify()
        while not waiting.done.wait(_LOOKS):
            if waiting.place.ended:
                with self._changed:
                    if waiting in self._queue:
                        self._queue.remove(waiting)
                raise Ended
        if waiting.error is not None:
            raise waiting.error

    def stop(self) -> None:
        """End all that waits; what is being computed is finished. Does not wait for it."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def close(self) -> None:
        """Stop, and wait for the worker."""
        self.stop()
        self._worker.join()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._queue and not self._closed:
                    self._changed.wait()
                if self._closed:
                    for waiting in self._queue:
                        waiting.fail(Ended())
                    self._queue.clear()
                    return
                some = self._next_kind()
                front = some[0]
                batch = [] if front.act else self._gather(some)
                self._queue = [each for each in self._queue if each.draws or (each.act and each is not front)]
            started = time.monotonic()
            if front.act:
                self._call(front, front.act)
            else:
                self._draw(batch)
                self._drawing += time.monotonic() - started
            self.busy += time.monotonic() - started

    def _next_kind(self) -> list[_Waiting]:
        """All that waits of the kind whose turn is longest ago, the oldest orders first."""
        kinds: dict[object, list[_Waiting]] = {}
        for waiting in sorted(self._queue, key=lambda each: each.place.since):
            kinds.setdefault(waiting.kind, []).append(waiting)
        kind = min(kinds, key=lambda each: self._served.get(each, 0))
        turn = max(self._served.values(), default=0) + 1
        self._served = {each: turn if each == kind else self._served.get(each, 0) for each in kinds}
        return kinds[kind]

    def _gather(self, some: Sequence[_Waiting]) -> list[tuple[_Waiting, int, Draw]]:
        """A batch: of each client in turn one draw, until it is full."""
        by_client: dict[str, deque[_Waiting]] = {}
        for waiting in some:
            by_client.setdefault(waiting.place.client, deque()).append(waiting)
        taken: list[tuple[_Waiting, int, Draw]] = []
        while by_client and len(taken) < self._batch_size:
            for client, orders in list(by_client.items())[: self._batch_size - len(taken)]:
                order = orders[0]
                taken.append((order, *order.draws.popleft()))
                if not order.draws:
                    orders.popleft()
                if not orders:
                    del by_client[client]
        return taken

    def _call(self, waiting: _Waiting, act: Callable[[], Any]) -> None:
        self.tally["calls"] += 1
        try:
            waiting.give(0, act())
        except BaseException as error:
            waiting.fail(error)

    def _draw(self, batch: Sequence[tuple[_Waiting, int, Draw]]) -> None:
        self.tally["batches"] += 1
        self.tally["draws"] += len(batch)
        try:
            drawn = draw_together(self._model, [draw for _, _, draw in batch])
        except BaseException as error:
            for waiting, _, _ in batch:
                waiting.fail(error)
            return
        for (waiting, number, _), result in zip(batch, drawn, strict=True):
            waiting.give(number, result)
