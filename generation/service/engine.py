"""All that the product does, for many clients at once, on one set of networks."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from threading import Lock
from typing import Any, Self

from configs.cli import UserError
from encoder.detection.face import Detector
from encoder.detection.following import Following
from encoder.detection.registry import create_detector
from encoder.inference.emotion_encoder import EmotionEncoder
from encoder.people.embedders import create_embedder
from engine.storage.weights import resolve_folder
from generation.draw import FaceModel, Progress
from generation.editing.face import edit_face
from generation.faces import FaceBatch
from generation.orders.per_face import Order, make_order
from generation.service.admission import Admission
from generation.service.again import box_or_parts, dataset_again, edit_again, faces_again, strip_again
from generation.service.jobs import Job, Jobs
from generation.service.orders import (
    DatasetOrder,
    EditOrder,
    EditResult,
    FacesOrder,
    FacesResult,
    MadeFace,
    ReadOrder,
    ReadResult,
)
from generation.service.reading import read_upload
from generation.service.results import edit_result, faces_result, made_face
from generation.service.settings import EngineSettings
from generation.service.shared_model import KnownPeople, SharedModel
from generation.service.turns import Place, Turns
from generation.service.uploads import given_picture
from generation.strip import make_strip

Cancelled = Callable[[], bool]
# Steps of a coarse view: as few as still show what emotion it will be.
COARSE_STEPS = 4
_NOT_OF_STRIPS = {"emotion", "count", "seed", "intensity", "mark", "max_tries", "best_of", "identity", "avoidance", "candidates"}
_NOT_OF_EDITS = {"emotion", "intensity", "region", "face", "count", "seed", "keep", "whole"}


class Engine:
    """Makes, edits and reads faces for any number of threads. Open it with :meth:`open`, and close it.

    Every method waits for its result, in turn with others: call it from a thread of its own. ``client`` names whose order it
    is, for the limits and the turns; ``cancelled`` is asked now and then, and where it says yes the order ends.

    Every method raises ``UserError`` (a setting is out of range, a picture cannot be read),
    :class:`generation.service.admission.Busy` (turned away for now) and :class:`generation.service.turns.Ended` (cancelled,
    out of time without a result, or the engine is closed).

    Attributes:
        settings: see :class:`generation.service.settings.EngineSettings`.
        model: the networks. jobs: data sets in the making, by id.
        turns, admission: what is counted of the work.
        tally: orders by kind and outcome, and faces ``delivered``.
    """

    def __init__(self, settings: EngineSettings, model: FaceModel, judge: EmotionEncoder | None = None) -> None:
        self.settings, self.model, self._judge = settings, model, judge
        self._detector = create_detector(settings.detector)
        self._embedder = None if settings.embedder is None else create_embedder(settings.embedder)
        self._folder = Path(tempfile.mkdtemp(prefix="mimique-"))  # for its owner only
        self.turns, self._known = Turns(model, settings.batch_size), KnownPeople()
        self.admission = Admission(settings, lambda: self.turns.expected)
        self.jobs = Jobs(self._folder, settings)
        self.tally: Counter[tuple[str, str]] = Counter()
        self._alone = nullcontext() if settings.batching else Lock()
        self._closed = False

    @classmethod
    def open(cls, settings: EngineSettings | None = None) -> Self:
        """Load the networks. Raises UserError: weights, detector, embedder or device cannot be had."""
        settings = settings or EngineSettings()
        model = FaceModel.from_pretrained(settings.weights, encoder=settings.encoder).to(settings.device)
        judge = None
        if settings.judge is not None:
            judge = EmotionEncoder.from_pretrained(resolve_folder(settings.judge)).to(model.device)
        return cls(settings, model, judge)

    def stop(self) -> None:
        """End all orders and jobs; waits for nothing."""
        self._closed = True
        self.jobs.stop()
        self.turns.stop()

    def close(self) -> None:
        """End all orders and jobs, and delete what was kept for clients."""
        self.stop()
        self.turns.close()
        self.jobs.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def faces(
        self,
        order: FacesOrder,
        *,
        client: str = "local",
        cancelled: Cancelled | None = None,
        progress: Progress | None = None,
        taken: Callable[[MadeFace], object] | None = None,
    ) -> FacesResult:
        """Faces that were verified; those that were accepted by then where time runs out.

        Args:
            progress: called with (accepted, asked, tried). taken: with every face that is accepted, at once, in this thread.
        """
        with self._order("faces", client, cancelled) as place:
            asked, shared = self._asked(order), SharedModel(self.model, self.turns, place, self._known)
            request = shared.settled(asked.request)
            begun = FaceBatch(request, (), 0, 0.0, self.model.weights)
            with self._alone:
                batch = shared.generate(
                    request,
                    batch_size=request.count,
                    progress=progress,
                    seeds=asked.seeds,
                    emotions=asked.emotions,
                    taken=None if taken is None else lambda face: taken(made_face(face, begun, order.mark)),
                )
            return self._result(order, batch, verified=True)

    def coarse(self, order: FacesOrder, *, client: str = "local", cancelled: Cancelled | None = None) -> FacesResult:
        """A first sight in a few steps: one draw of each face, accepted or not. The faces that are made later are others."""
        with self._order("coarse", client, cancelled) as place:
            started = time.monotonic()
            asked, shared = self._asked(order), SharedModel(self.model, self.turns, place, self._known)
            whole = shared.settled(asked.request)
            quick = {
                "steps": COARSE_STEPS,
                "realism": None if whole.realism is None else 0.0,
                "landmarks": "off",
                "as_told": "off",
            }
            request = whole.model_copy(update={**quick, "encoder_guidance": 0.0, "best_of": 1, "max_tries": 1})
            seeds = asked.seeds or range(request.seed, request.seed + request.count)
            with self._alone:
                people = shared.nearest_people(whole, seeds, COARSE_STEPS) if whole.identity else None
                faces = tuple(shared.draw_people(request, seeds, 0, asked.emotions, people))
            own = (asked.emotions, asked.seeds)
            return self._result(
                order,
                FaceBatch(request, faces, len(faces), time.monotonic() - started, self.model.weights, False, {}, *own),
                verified=False,
            )

    def strip(
        self, order: FacesOrder, path: str, frames: int, *, client: str = "local", cancelled: Cancelled | None = None
    ) -> FacesResult:
        """The person of the order's seed in even steps along a path such as ``"neutral:fear"``. Unlike others, these may miss."""
        with self._order("strips", client, cancelled) as place:
            own = order.model_dump(exclude=_NOT_OF_STRIPS, exclude_none=True)
            if not isinstance(order.seed, int) or isinstance(order.intensity, tuple) or frames > self.settings.most_faces:
                raise UserError(f"a strip is of one seed and intensity, and of at most {self.settings.most_faces} faces")
            shared = SharedModel(self.model, self.turns, place, self._known)
            with self._alone:
                strip = make_strip(shared, path, frames, 1, order.seed, intensity=order.intensity, **own)
            again = strip_again(order, path, frames, self.settings.weights)
            return faces_result(strip, again, verified=False, mark=order.mark)

    def edit(self, order: EditOrder, picture: Any, *, client: str = "local", cancelled: Cancelled | None = None) -> EditResult:
        """Another expression for a face in a picture: the bytes of its file, a PIL image or an array."""
        with self._order("edits", client, cancelled) as place:
            if order.count > self.settings.most_proposals:
                raise UserError(f"count: at most {self.settings.most_proposals} proposals, got {order.count}")
            started, given = time.monotonic(), given_picture(picture, self.settings)
            own = {name: value for name, value in order.model_dump(exclude=_NOT_OF_EDITS).items() if value is not None}
            region = box_or_parts(order.region)
            if not isinstance(region, str):
                region = tuple(value / given.scale for value in region)

            def act() -> Any:
                return edit_face(
                    self.model,
                    given,
                    order.emotion,
                    intensity=order.intensity,
                    count=order.count,
                    seed=order.seed,
                    region=region,
                    face=order.face,
                    keep=order.keep,
                    detector=self._detector,
                    judge=self._judge,
                    embedder=self._embedder,
                    **own,
                )

            with self._alone:
                edited = self.turns.call(place, act)
            again = edit_again(order, self.settings.weights, self.settings.mark_edits)
            seconds = time.monotonic() - started
            return edit_result(edited, again, seconds, given.scale, order.whole == "all", mark=self.settings.mark_edits)

    def read(
        self,
        picture: Any,
        order: ReadOrder | None = None,
        *,
        client: str = "local",
        cancelled: Cancelled | None = None,
        detector: Detector | None = None,
    ) -> ReadResult:
        """The faces of a picture (as for :meth:`edit`), or of a video, of which the bytes of its file are taken.

        Args:
            detector: another than the engine's own, such as one of :meth:`following`.
        """
        with self._order("readings", client, cancelled) as place:

            def in_turn(act: Callable[[], Any]) -> Any:
                with self._alone:
                    return self.turns.call(place, act)

            detector = detector or self._detector
            return read_upload(picture, order or ReadOrder(), self.model.encoder, detector, in_turn, self._folder, self.settings)

    def following(self) -> Following:
        """A detector for the pictures of one camera, in their order."""
        return Following(self._detector)

    def start_dataset(self, order: DatasetOrder, *, client: str = "local") -> Job:
        """A data set, made in the background; one after the other, and each in turn with other orders.

        Raises:
            UserError: the order cannot be met. Busy: the client has as many data sets as it may.
        """
        again = dataset_again(order, self.settings.weights)

        def shared(place: Place) -> SharedModel:
            return SharedModel(self.model, self.turns, place, self._known)

        job = self.jobs.start(order, shared, again, client)
        self.tally["datasets", "started"] += 1
        return job

    @contextmanager
    def _order(self, kind: str, client: str, cancelled: Cancelled | None) -> Iterator[Place]:
        """The place of an order that was let in; what became of it is counted."""
        outcome = "failed"
        deadline = time.monotonic() + self.settings.seconds
        try:
            with self.admission.admit(client):
                yield Place(client, lambda: self._closed or (cancelled is not None and cancelled()), deadline)
            outcome = "done"
        except UserError:
            outcome = "refused"
            raise
        except KeyboardInterrupt:
            outcome = "ended"
            raise
        finally:
            self.tally[kind, outcome] += 1

    def _asked(self, order: FacesOrder) -> Order:
        given = order.model_dump(exclude={"emotion", "count", "seed", "intensity", "mark"})
        settings = {name: value for name, value in given.items() if value is not None}
        asked = make_order(order.emotion, order.count, order.seed, intensity=order.intensity, **settings)
        for name, most in (("count", self.settings.most_faces), ("max_tries", self.settings.most_tries)):
            if getattr(asked.request, name) > most:
                raise UserError(f"{name}: at most {most} here, got {getattr(asked.request, name)}")
        return asked

    def _result(self, order: FacesOrder, batch: FaceBatch, *, verified: bool) -> FacesResult:
        self.tally["faces", "delivered"] += sum(face.accepted for face in batch) if verified else 0
        return faces_result(batch, faces_again(order, self.settings.weights), verified=verified, mark=order.mark)
