"""Data sets in the making: one after the other, in the background, each a ZIP at its end, all in a private folder."""

from __future__ import annotations

import secrets
import shutil
import threading
import time
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from configs.cli import UserError
from engine.storage.atomic import draft
from generation.dataset.make import make_dataset
from generation.dataset.order import DatasetRequest, ask
from generation.draw import FaceModel
from generation.faces import FaceBatch
from generation.service.admission import Busy
from generation.service.orders import DatasetOrder, JobState
from generation.service.settings import EngineSettings
from generation.service.turns import Ended, Place

Shared = Callable[[Place], FaceModel]
_LOOKS = 5.0
_RETRY = 60
_NOT_OF_FACES = {"per_emotion", "counts", "each", "seed", "valid", "format", "least_difference", "mark"}


class Job:
    """A data set that is waiting, being made, made, cancelled or given up.

    Attributes:
        id: not to be guessed: who knows it may have the set. client: whose it is.
    """

    def __init__(self, order: DatasetOrder, request: DatasetRequest, again: tuple[str, str], client: str, folder: Path) -> None:
        self.id, self.client, self._order, self._request, self._again = secrets.token_urlsafe(18), client, order, request, again
        self.folder = folder / self.id
        self.touched = time.monotonic()
        self._cancelled, self._state, self._problem = False, "waiting", ""
        self._done, self._before, self._seconds, self._since = 0, 0, 0.0, time.monotonic()
        self._complete: bool | None = None

    @property
    def asked(self) -> int:
        """Faces that were asked for."""
        return sum(self._request.counts.values())

    @property
    def active(self) -> bool:
        """Whether it is waiting or being made."""
        return self._state in ("waiting", "running")

    @property
    def archive(self) -> Path | None:
        """The ZIP with the set, its manifest and its data card; None until it is done."""
        return self.folder / "set.zip" if self._state == "done" else None

    @property
    def state(self) -> JobState:
        """How far it is."""
        done, seconds = min(self._done, self.asked), self._seconds
        if self._state == "running":
            seconds += time.monotonic() - self._since
        new, left = done - self._before, None
        if self._state == "running" and new > 0:
            left = round((time.monotonic() - self._since) / new * (self.asked - done), 1)
        return JobState(
            id=self.id,
            state=self._state,
            done=done,
            asked=self.asked,
            seconds=round(seconds, 1),
            seconds_left=left,
            problem=self._problem or None,
            complete=self._complete,
            command=self._again[0],
            python=self._again[1],
        )

    def cancel(self) -> None:
        """Stop it; what is drawn by then is kept for :meth:`Jobs.resume` until the set is deleted."""
        self._cancelled = True
        if self._state == "waiting":
            self._state = "cancelled"

    def wait_anew(self) -> None:
        """Take its place in the queue again."""
        self._cancelled, self._state, self._problem = False, "waiting", ""

    def make(self, shared: Shared) -> None:
        """Make the set, or the rest of it, in this thread."""
        self._state, self._since, self._before = "running", time.monotonic(), self._done
        try:
            model = _Counting(shared(Place(self.client, lambda: self._cancelled)), self._count)
            manifest = make_dataset(model, self._request, self.folder / "set", command=self._again[0])
            self._pack()
            self._complete, self._done, self._state = bool(manifest["complete"]), self.asked, "done"
        except Ended:
            self._state = "cancelled"
        except UserError as error:
            # Where the set stands on this machine is nobody's business.
            self._state, self._problem = "failed", str(error).replace(str(self.folder), "the set")
        except Exception as error:
            self._state, self._problem = "failed", f"a defect of the program ({type(error).__name__})"
            raise
        finally:
            self._seconds += time.monotonic() - self._since
            self.touched = time.monotonic()

    def _count(self, accepted: int) -> None:
        self._done += accepted

    def _pack(self) -> None:
        place = self.folder / "set"
        with draft(self.folder / "set.zip") as stream, zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
            for file in sorted(path for path in place.rglob("*") if path.is_file()):
                if self._cancelled:
                    raise Ended
                archive.write(file, file.relative_to(place))
        shutil.rmtree(place)


class _Counting(FaceModel):
    """Counts the faces of whole blocks; of a block that was broken off nothing may be kept."""

    def __init__(self, model: FaceModel, count: Callable[[int], object]) -> None:
        super().__init__(model.encoder, model.tokenizer, model.prior, model.weights, model.critic, model.notes, model.probe)
        self._model, self._count = model, count

    def generate(self, *arguments: Any, **named: Any) -> FaceBatch:
        batch = self._model.generate(*arguments, **named)
        if batch.interrupted:
            raise Ended
        self._count(len(batch))
        return batch


class Jobs:
    """Data sets by id. Those of which nobody has heard for as long as the settings say are deleted."""

    def __init__(self, folder: Path, settings: EngineSettings) -> None:
        self._folder, self._settings = folder, settings
        self._jobs: dict[str, tuple[Job, Shared]] = {}
        self._changed = threading.Condition()
        self._closed = False
        self._threads = [threading.Thread(target=each, daemon=True) for each in (self._make_all, self._sweep_all)]
        for thread in self._threads:
            thread.start()

    def start(self, order: DatasetOrder, shared: Shared, again: tuple[str, str], client: str) -> Job:
        """Take an order. Raises UserError: it cannot be met. Busy: too many of this client."""
        if (order.per_emotion is None) == (order.counts is None):
            raise UserError("dataset: give either per_emotion or counts")
        own = order.model_dump(exclude=_NOT_OF_FACES, exclude_none=True)
        made: dict[str, Any] = {"seed": order.seed, "valid": order.valid, "format": order.format, "mark": order.mark}
        request = ask(order.wanted, each=order.each, **made, least_difference=order.least_difference, **own)
        if sum(request.counts.values()) > self._settings.most_set:
            raise UserError(f"dataset: at most {self._settings.most_set} faces here, got {sum(request.counts.values())}")
        request.spelt_out(shared(Place(client)))
        with self._changed:
            if sum(job.client == client for job, _ in self._jobs.values()) >= self._settings.most_jobs:
                raise Busy(f"{self._settings.most_jobs} data sets of this client are kept; delete one first", _RETRY, "client")
            job = Job(order, request, again, client, self._folder)
            job.folder.mkdir(mode=0o700)
            self._jobs[job.id] = job, shared
            self._changed.notify_all()
        return job

    def __getitem__(self, number: str) -> Job:
        """A job, kept for another while. Raises KeyError: there is none of this id, or it was deleted."""
        job = self._jobs[number][0]
        job.touched = time.monotonic()
        return job

    def __len__(self) -> int:
        return len(self._jobs)

    @property
    def all(self) -> Sequence[Job]:
        """Every job, the oldest first."""
        return [job for job, _ in list(self._jobs.values())]

    def resume(self, number: str) -> Job:
        """Go on with a job that was cancelled or failed. Raises KeyError: there is none."""
        job = self[number]
        with self._changed:
            if not job.active and job.archive is None:
                job.wait_anew()
                self._changed.notify_all()
        return job

    def delete(self, number: str) -> None:
        """Forget a job and its files; one that is active is cancelled first. Raises KeyError: there is none."""
        with self._changed:
            job, _ = self._jobs.pop(number)
        job.cancel()
        # Of one that is being made, whoever makes it takes the files away.
        if not job.active:
            shutil.rmtree(job.folder, ignore_errors=True)

    def stop(self) -> None:
        """Cancel all."""
        with self._changed:
            self._closed = True
            for job, _ in self._jobs.values():
                job.cancel()
            self._changed.notify_all()

    def close(self) -> None:
        """Cancel all, and wait until nobody works any more."""
        self.stop()
        for thread in self._threads:
            thread.join()

    def _make_all(self) -> None:
        while True:
            with self._changed:
                while not self._closed and not any(job.state.state == "waiting" for job, _ in self._jobs.values()):
                    self._changed.wait()
                if self._closed:
                    return
                job, shared = next(each for each in self._jobs.values() if each[0].state.state == "waiting")
            try:
                job.make(shared)
            finally:
                if job.id not in self._jobs:
                    shutil.rmtree(job.folder, ignore_errors=True)

    def _sweep_all(self) -> None:
        while True:
            with self._changed:
                if self._closed or self._changed.wait_for(lambda: self._closed, _LOOKS):
                    return
            self.sweep()

    def sweep(self) -> None:
        """Delete those of which nobody has heard for too long and that are not being made."""
        too_old = time.monotonic() - self._settings.kept_seconds
        for job in self.all:
            if not job.active and job.touched < too_old:
                self.delete(job.id)
