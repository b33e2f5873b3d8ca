"""The object people hold: weights in, verified faces out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack

from torch import Tensor

from configs.cli import UserError
from encoder.detection.registry import DEFAULT_DETECTOR
from encoder.emotions import EMOTION_NAMES
from generation.draw import FaceModel, OnStep, Progress
from generation.editing import NOT_FOR_EDITS
from generation.faces import Face, FaceBatch
from generation.orders.per_face import Seeds, make_order
from generation.orders.signature import takes_settings
from generation.regions import EXPRESSION
from generation.request import Asked, FaceSettings, make_request
from generation.weights import PARTS
from vqvae.attributes import AttributeName

if TYPE_CHECKING:
    from encoder.detection.face import Detector
    from encoder.inference.emotion_encoder import EmotionEncoder
    from encoder.people.embeddings import Embedder
    from generation.editing.face import EditedFace
    from generation.strip import FaceStrip

__all__ = ["PARTS", "Face", "FaceBatch", "FacePipeline"]

# Called with the pipeline, the step from 0, the number of steps, and what there is by then: "seeds", "tokens" (N, L, G), "hidden"
# (N, L) bool. What it returns is not used.
StepCallback = Callable[["FacePipeline", int, int, dict[str, Any]], object]


class FacePipeline(FaceModel):
    """Generates faces that show an emotion, and keeps those of which the encoder agrees.

    >>> pipe = FacePipeline.from_pretrained()
    >>> batch = pipe(emotion="fear", count=16, seed=0)
    >>> batch.images[0].save("fear.png"); batch[0].verdict["fear"]
    """

    request = staticmethod(make_request)
    _bar: Mapping[str, Any] = {"disable": None}

    def set_progress_bar_config(self, **options: Any) -> None:
        """Options of ``tqdm`` for the bar of every call, such as ``disable=True``; by default it shows on a terminal."""
        self._bar = {"disable": None, **options}

    @takes_settings()
    def __call__(
        self,
        emotion: Asked | Iterable[Asked] = "neutral",
        count: int | None = None,
        seed: Seeds = 0,
        *,
        intensity: float | Sequence[float] = 1.0,
        batch_size: int = 32,
        progress: bool | Progress | None = None,
        callback_on_step_end: StepCallback | None = None,
        **settings: Unpack[FaceSettings],
    ) -> FaceBatch:
        """Generate ``count`` faces; face i uses ``seed + i`` and depends on nothing else.

        Args:
            emotion: name, :class:`encoder.emotions.Emotion`, mapping to weights, or seven probabilities; for all, or in a list
                one a face.
            count: 16 where nothing is given one a face.
            seed: a number, a list of one a face, or a ``torch.Generator`` that draws the first.
            intensity: 0 (neutral) to 1; for all, or in a list one a face.
            batch_size: faces computed at once.
            progress: whether to show a bar (None: as :meth:`set_progress_bar_config` says), or what to call with (accepted,
                asked, tried) after every batch.
            callback_on_step_end: called after every step of unmasking with (pipeline, step, steps, state); the state holds
                ``seeds``, ``tokens`` (N, L, G), of which :meth:`pixels` makes pictures, and ``hidden`` (N, L) bool.
            settings: see :class:`generation.request.FaceRequest`.

        Returns:
            The accepted faces; fewer than asked (``complete`` is False) where ``max_tries`` ran out.

        Raises:
            UserError: a setting is unknown or out of range, or something that these weights cannot do.
        """
        order = make_order(emotion, count, seed, intensity=intensity, **settings)
        on_step = None if callback_on_step_end is None else self._step(callback_on_step_end)
        with self._shown(progress, order.request.count, "face") as advance:
            return self.generate(
                order.request,
                batch_size=batch_size,
                progress=advance,
                on_step=on_step,
                seeds=order.seeds,
                emotions=order.emotions,
            )

    @takes_settings(leave_out=("best_of",))
    def strip(
        self,
        path: str,
        frames: int = 9,
        count: int = 1,
        seed: int = 0,
        *,
        intensity: float = 1.0,
        progress: bool | Progress | None = None,
        **settings: Unpack[FaceSettings],
    ) -> FaceStrip:
        """``count`` people, each in ``frames`` steps from one emotion to another (``"happiness:fear"``).

        See :func:`generation.strip.make_strip`; ``progress`` as for a call, in rows.
        """
        from generation.strip import make_strip

        with self._shown(progress, count, "row") as advance:
            return make_strip(self, path, frames, count, seed, intensity=intensity, progress=advance, **settings)

    @takes_settings(leave_out=NOT_FOR_EDITS)
    def edit(
        self,
        picture: Any,
        emotion: Asked,
        *,
        intensity: float = 1.0,
        count: int = 8,
        seed: int = 0,
        region: str | Sequence[float] = ",".join(EXPRESSION),
        face: int = 1,
        keep: float = 2.0,
        strip: Sequence[float] = (),
        detector: Detector | str = DEFAULT_DETECTOR,
        judge: EmotionEncoder | None = None,
        embedder: Embedder | None = None,
        **settings: Unpack[FaceSettings],
    ) -> EditedFace:
        """Another expression for a face in a picture: a path, URL, bytes, PIL image, array or tensor.

        See :func:`generation.editing.face.edit_face` for the arguments and errors.
        """
        from generation.editing.face import edit_face

        return edit_face(
            self,
            picture,
            emotion,
            intensity=intensity,
            count=count,
            seed=seed,
            region=region,
            face=face,
            keep=keep,
            strip=strip,
            detector=detector,
            judge=judge,
            embedder=embedder,
            **settings,
        )

    @takes_settings()
    def dataset(
        self,
        out: str | Path,
        *,
        per_emotion: int | None = None,
        counts: Mapping[str, int] | str | Path | None = None,
        each: Sequence[AttributeName] = (),
        seed: int = 0,
        valid: float = 0.1,
        format: Literal["folders", "parquet"] = "folders",
        least_difference: float = 10.0,
        mark: bool = False,
        **settings: Unpack[FaceSettings],
    ) -> dict[str, Any]:
        """A balanced, verified, labelled set in the folder ``out``, or the rest of one; returns its manifest.

        Give ``per_emotion`` or ``counts``, by name or as a table (:func:`generation.dataset.counts.read_counts`); the others, and
        errors: see :func:`generation.dataset.order.ask` and :func:`generation.dataset.make.make_dataset`.
        """
        from generation.dataset.counts import read_counts
        from generation.dataset.make import make_dataset
        from generation.dataset.order import ask

        if (per_emotion is None) == (counts is None):
            raise UserError("dataset: give either per_emotion or counts")
        own = {"seed": seed, "valid": valid, "format": format, "least_difference": least_difference, "mark": mark}
        options: dict[str, Any] = {**own, **settings}
        wanted = dict.fromkeys(EMOTION_NAMES, per_emotion or 0) if counts is None else read_counts(counts)
        given = {"per_emotion": per_emotion, "counts": None if counts is None else wanted, "each": tuple(each) or None, **options}
        call = ", ".join([repr(str(out)), *(f"{name}={value!r}" for name, value in given.items() if value is not None)])
        request = ask(wanted, each=each, **options)
        return make_dataset(self, request, Path(out), command=f"FacePipeline.dataset({call})")

    def _step(self, callback: StepCallback) -> OnStep:
        def on_step(seeds: Sequence[int], step: int, steps: int, tokens: Tensor, hidden: Tensor) -> None:
            callback(self, step, steps, {"seeds": list(seeds), "tokens": tokens, "hidden": hidden})

        return on_step

    @contextmanager
    def _shown(self, progress: bool | Progress | None, total: int, unit: str) -> Iterator[Progress | None]:
        """What to call with (done, asked, tried): a bar's, the caller's own, or nothing."""
        if callable(progress) or progress is False:
            yield progress or None
            return
        if not (progress is None or progress is True):
            raise UserError(f"progress: give True, False or something to call, got {progress!r} ({type(progress).__name__})")
        from tqdm.auto import tqdm

        options = {**self._bar, **({} if progress is None else {"disable": False})}
        with tqdm(**{"total": total, "unit": unit, "leave": False, **options}) as bar:

            def advance(done: int, _asked: int, tried: int) -> None:
                bar.set_postfix(tried=tried)
                bar.update(done - bar.n)

            yield advance
