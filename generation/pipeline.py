"""The object people hold: weights in, verified faces out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.cli import UserError
from encoder.emotions import EMOTION_NAMES
from generation.draw import FaceModel, Progress
from generation.faces import Face, FaceBatch
from generation.request import make_request
from generation.weights import PARTS

if TYPE_CHECKING:
    from generation.editing.face import EditedFace
    from generation.strip import FaceStrip

__all__ = ["PARTS", "Face", "FaceBatch", "FacePipeline"]


class FacePipeline(FaceModel):
    """Generates faces that show an emotion, and keeps those of which the encoder agrees.

    >>> pipe = FacePipeline.from_pretrained()
    >>> batch = pipe(emotion="fear", count=16, seed=0)
    >>> batch.images[0].save("fear.png"); batch.verdicts[0].match
    """

    request = staticmethod(make_request)

    def __call__(
        self,
        emotion: str | Sequence[float] = "neutral",
        count: int = 16,
        seed: int = 0,
        *,
        intensity: float = 1.0,
        batch_size: int = 32,
        progress: Progress | None = None,
        **settings: Any,
    ) -> FaceBatch:
        """Generate ``count`` faces; face i uses ``seed + i`` and depends on nothing else.

        Args:
            emotion, intensity, settings: see :func:`generation.request.make_request`, also for errors.
            batch_size: faces computed at once. progress: called with (accepted, asked, tried) after every batch.

        Returns:
            The accepted faces; fewer than asked (``complete`` is False) where ``max_tries`` ran out.
        """
        request = make_request(emotion, count, seed, intensity=intensity, **settings)
        return self.generate(request, batch_size=batch_size, progress=progress)

    def strip(self, path: str, frames: int = 9, count: int = 1, seed: int = 0, **settings: Any) -> FaceStrip:
        """``count`` people, each in ``frames`` steps from one emotion to another (``"happiness:fear"``).

        See :func:`generation.strip.make_strip`, also for ``settings``.
        """
        from generation.strip import make_strip

        return make_strip(self, path, frames, count, seed, **settings)

    def edit(self, picture: Any, emotion: str | Sequence[float], **settings: Any) -> EditedFace:
        """Another expression for a face in a picture; see :func:`generation.editing.face.edit_face`, also for ``settings``."""
        from generation.editing.face import edit_face

        return edit_face(self, picture, emotion, **settings)

    def dataset(
        self, out: str | Path, *, per_emotion: int | None = None, counts: Mapping[str, int] | None = None, **options: Any
    ) -> dict[str, Any]:
        """A balanced, verified, labelled set in the folder ``out``, or the rest of one; returns its manifest.

        Give ``per_emotion`` or ``counts``; ``options`` and errors: see :func:`generation.dataset.order.ask` and
        :func:`generation.dataset.make.make_dataset`.
        """
        from generation.dataset.make import make_dataset
        from generation.dataset.order import ask

        if (per_emotion is None) == (counts is None):
            raise UserError("dataset: give either per_emotion or counts")
        given = {"per_emotion": per_emotion, "counts": counts, **options}
        call = ", ".join([repr(str(out)), *(f"{name}={value!r}" for name, value in given.items() if value is not None)])
        request = ask(counts or dict.fromkeys(EMOTION_NAMES, per_emotion or 0), **options)
        return make_dataset(self, request, Path(out), command=f"FacePipeline.dataset({call})")
