"""One worker for the networks: it draws what all orders wait for, as many faces of all clients at once as go together.

Orders run in threads of their own, which decide what to draw next; only this worker's thread computes. Clients take turns,
face by face: an order of many faces does not keep one of a single face waiting.
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
    """Of one order: whose it is, whether somebody has given it up, and by when it must end."""

    client: str = "local"
    cancelled: Callable[[], bool] = lambda: False
    deadline: float = float("inf")

    @property
    def ended(self) -> bool:
        """Whether nothing more is to be done for it."""
        return self.cancelled() or time.monotonic() > self.deadline


@dataclass(eq=False)
class _Waiting:
    place: Place
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
        self._queue: deque[_Waiting] = deque()
        self._closed = False
        self.tally: Counter[str] = Counter()
        self.busy = 0.0
        self._worker = threading.Thread(target=self._work, name="networks", daemon=True)
        self._worker.start()

    @property
    def waiting(self) -> int:
        """Draws and calls that nobody has begun."""
        with self._changed:
            return sum(len(each.draws) or 1 for each in self._queue)

    def draw(self, place: Place, draws: Sequence[Draw]) -> list[Drawn]:
        """What draws of one key give, in their order. Raises Ended: the order has ended before."""
        waiting = _Waiting(place, draws=deque(enumerate(draws)), wanted=len(draws))
        self._wait(waiting)
        return [waiting.found[number] for number in range(len(draws))]

    def call(self, place: Place, act: Callable[[], Result]) -> Result:
        """What ``act`` returns, called where the networks compute. Raises what it raises, and Ended."""
        waiting = _Waiting(place, act)
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
                front = self._queue[0]
                batch = [] if front.act else self._gather(front)
                # Its turn is over: others come first, unless nothing of it is left.
                self._queue.rotate(-1)
                emptied = [each for each in self._queue if each is front or not each.act]
                for each in emptied:
                    if not each.draws:
                        self._queue.remove(each)
            started = time.monotonic()
            if front.act:
                self._call(front, front.act)
            else:
                self._draw(batch)
            self.busy += time.monotonic() - started

    def _gather(self, front: _Waiting) -> list[tuple[_Waiting, int, Draw]]:
        """A batch: of each client in turn one draw that goes together with those of the front, that client first."""
        key = front.draws[0][1].key
        by_client: dict[str, deque[_Waiting]] = {}
        for waiting in self._queue:
            if not waiting.act and waiting.draws[0][1].key == key:
                by_client.setdefault(waiting.place.client, deque()).append(waiting)
        taken: list[tuple[_Waiting, int, Draw]] = []
        while by_client and len(taken) < self._batch_size:
            for client, orders in list(by_client.items()):
                if len(taken) == self._batch_size:
                    break
                order = orders[0]
                taken.append((order, *order.draws.popleft()))
                # An own order after the other, too.
                orders.rotate(-1)
                if not order.draws:
                    orders.remove(order)
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
