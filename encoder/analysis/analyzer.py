"""Any pictures in, a table of faces out: detection, crops, and one pass of the network over the faces of many pictures."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from configs.cli import UserError
from configs.values import whole
from encoder.analysis.columns import Columns
from encoder.analysis.cuts import cut_for_all, read_emotions
from encoder.analysis.inputs import find_inputs
from encoder.analysis.rows import NO_FACE, Analysis, FaceRow
from encoder.analysis.shard_views import view_inputs
from encoder.detection.face import BatchDetector, DetectedFace, Detector
from encoder.detection.registry import DEFAULT_DETECTOR, create_detector
from encoder.detection.whole import CROPS, Crops, whole_face
from encoder.inference.emotion_encoder import EmotionEncoder
from encoder.inference.stored_network import StoredNetwork
from encoder.pictures.given import each_picture, view_given
from encoder.pictures.sources import View
from engine.devices import resolve_device
from engine.storage.weights import resolve_folder

if TYPE_CHECKING:
    from encoder.analysis.action_units import ActionUnitReader
    from encoder.people.gender import GenderModel
    from encoder.people.identity import Gallery

# Pictures that are searched together, unless they hold more bytes. On one core two cost nothing, four 8 % more time.
_SEARCHED_TOGETHER, _MAX_SEARCHED_BYTES = 2, 32 * 2**20
# Pictures that wait for a batch to fill may hold so many bytes together.
_MAX_WAITING_BYTES = 256 * 2**20


@dataclass(frozen=True, eq=False)
class Reading:
    """One view, read.

    Attributes:
        view: what was looked at; without its picture unless pictures were to be kept.
        rows: one a face, the largest first; or one that names the problem.
        overlays: for each face the (160, 160, 3) uint8 crop under its Grad-CAM, if asked for.
    """

    view: View
    rows: tuple[FaceRow, ...]
    overlays: tuple[NDArray[np.uint8], ...] = ()


class FaceAnalyzer:
    """Finds and reads the faces of pictures.

    Args:
        encoder: reads emotions; its answer for a face is averaged with that for the mirror image.
        detector: finds faces.
        gender, gallery, action_units: further readings of each face; off unless given.
        batch_size: faces that go through the network together, from as many pictures as it takes.
        min_size: faces whose box is narrower than so many pixels of the file are left out.
        largest: only the largest face of each picture.
        crops: whether pictures are cropped faces already, which are read whole: ``auto`` decides for each by
            :func:`encoder.detection.whole.is_crop`, and cuts faces out of frames; ``yes`` and ``no`` hold for all.
    """

    def __init__(
        self,
        encoder: EmotionEncoder,
        detector: Detector,
        *,
        gender: GenderModel | None = None,
        gallery: Gallery | None = None,
        action_units: ActionUnitReader | None = None,
        batch_size: int = 64,
        min_size: int = 24,
        largest: bool = False,
        crops: Crops = "auto",
    ) -> None:
        if whole("batch_size", batch_size) < 1:
            raise UserError(f"batch size must be at least 1, got {batch_size}")
        if crops not in CROPS:
            raise UserError(f"crops must be one of {', '.join(CROPS)}, got {crops!r}")
        self.encoder, self.detector, self.crops = encoder, detector, crops
        self.gender, self.gallery, self.action_units = gender, gallery, action_units
        self.batch_size, self.min_size, self.largest = batch_size, min_size, largest

    @classmethod
    def from_pretrained(
        cls,
        folder: str | Path = "pretrained/encoder",
        *,
        detector: str = DEFAULT_DETECTOR,
        device: torch.device | str = "auto",
        gender: GenderModel | None = None,
        gallery: Gallery | None = None,
        action_units: ActionUnitReader | None = None,
        batch_size: int = 64,
        min_size: int = 24,
        largest: bool = False,
        crops: Crops = "auto",
    ) -> Self:
        """Load the encoder from ``folder`` and make the detector of that name; the others as for the class.

        Raises:
            UserError: weights, detector or device cannot be had.
        """
        encoder = EmotionEncoder.from_pretrained(resolve_folder(str(folder))).to(resolve_device(str(device)))
        return cls(
            encoder,
            create_detector(detector),
            gender=gender,
            gallery=gallery,
            action_units=action_units,
            batch_size=batch_size,
            min_size=min_size,
            largest=largest,
            crops=crops,
        )

    def to(self, device: torch.device | str) -> Self:
        """Move the networks that read faces to ``device`` (``auto``: CUDA where there is one); returns self."""
        for network in (self.encoder, self.gender):
            if isinstance(network, StoredNetwork):
                network.to(resolve_device(str(device)))
        return self

    @property
    def device(self) -> torch.device:
        """Where the encoder's weights are."""
        return self.encoder.device

    def analyze(self, pictures: Any, *, every: int = 1) -> Analysis:
        """Read pictures in whatever form they are.

        Args:
            pictures: one or several (list, generator, Series): files, folders, patterns, videos, shards and URLs by name; and
                what :func:`encoder.pictures.given.picture_of` takes, such as bytes, PIL images, arrays and tensors.
            every: of the frames of a video one in so many.

        Raises:
            UserError: a folder or pattern with no picture behind it, or something that is no picture. A file that cannot be
                read is a row, not an error.
        """
        return Analysis(tuple(row for reading in self.stream(self._views(pictures, every)) for row in reading.rows))

    @staticmethod
    def _views(pictures: Any, every: int) -> Iterator[View]:
        whole("every", every)
        several = list(each_picture(pictures)) if isinstance(pictures, str | Path) or hasattr(pictures, "__len__") else None
        # Names that are all known are looked up together, so that none is read twice and a wrong one is refused at once.
        if several and all(isinstance(each, str | Path) for each in several):
            yield from view_inputs(find_inputs(several).inputs, Columns(), every=every)
            return
        for number, given in enumerate(each_picture(pictures) if several is None else several):
            if isinstance(given, str | Path):
                yield from view_inputs(find_inputs([given]).inputs, Columns(), every=every)
            else:
                yield view_given(given, number)

    def stream(
        self, views: Iterable[View], *, keep_pictures: bool = False, explain: bool = False, at_once: bool = False
    ) -> Iterator[Reading]:
        """Read views as they come, in their order; memory is bounded however many there are.

        Args:
            keep_pictures: leave the pixels in each reading's view, for drawing.
            explain: add Grad-CAM overlays.
            at_once: read every view on its own instead of waiting until a batch is full (cameras).
        """
        waiting: list[_Waiting] = []
        together = _SEARCHED_TOGETHER if isinstance(self.detector, BatchDetector) and not at_once else 1
        for view, found in self._search(views, together):
            waiting.append(self._cut_out(view, found, keep_pictures, explain))
            held = sum(0 if each.view.picture is None else each.view.picture.pixels.nbytes for each in waiting)
            faces = sum(len(each.rows) for each in waiting)
            if at_once or faces >= self.batch_size or len(waiting) >= 4 * self.batch_size or held > _MAX_WAITING_BYTES:
                yield from self._read(waiting, explain)
                waiting = []
        yield from self._read(waiting, explain)

    def _search(self, views: Iterable[View], together: int) -> Iterator[tuple[View, list[DetectedFace] | UserError]]:
        """Each view with its faces, or with why they cannot be had; none for a view without a picture."""
        group: list[View] = []
        for view in views:
            group.append(view)
            held = sum(0 if each.picture is None else each.picture.pixels.nbytes for each in group)
            if len(group) >= together or held > _MAX_SEARCHED_BYTES:
                yield from self._found(group)
                group = []
        if group:
            yield from self._found(group)

    def _found(self, group: Sequence[View]) -> Iterator[tuple[View, list[DetectedFace] | UserError]]:
        pictures = [view.picture.pixels for view in group if view.picture is not None]
        if self.crops == "yes":
            answers: Iterator[list[DetectedFace] | UserError] = iter([[] for _ in pictures])
        elif isinstance(self.detector, BatchDetector):
            answers = iter(self.detector.detect_all(pictures))
        else:
            answers = map(self._detect, pictures)
        for view in group:
            yield view, [] if view.picture is None else next(answers)

    def _detect(self, picture: NDArray[np.uint8]) -> list[DetectedFace] | UserError:
        try:
            return self.detector.detect(picture)
        except UserError as error:
            return error

    def _cut_out(self, view: View, found: list[DetectedFace] | UserError, keep_pictures: bool, explain: bool) -> _Waiting:
        """The crops of the faces of one view."""
        place = FaceRow(view.source, view.frame, view.time)
        if view.picture is None:
            return _Waiting(view, [replace(place, problem=view.problem)])
        pixels, scale = view.picture.pixels, view.picture.scale
        kept = view if keep_pictures else replace(view, picture=None)
        if isinstance(found, UserError):
            return _Waiting(kept, [replace(place, problem=str(found))])
        whole = whole_face(pixels, found, "no" if self.crops == "auto" and view.frame is not None else self.crops)
        faces = [face for face in (found if whole is None else [whole]) if face.box[2] * scale >= self.min_size]
        if not faces:
            return _Waiting(kept, [replace(place, problem=NO_FACE)])
        waiting = _Waiting(kept, [])
        for number, face in enumerate(faces[:1] if self.largest else faces):
            waiting.rows.append(replace(_face_row(place, number, face, scale), whole_picture=whole is not None))
            how = {"gallery": self.gallery is not None, "explain": explain, "whole": whole is not None}
            cuts = cut_for_all(pixels, face, self.encoder, self.gender, **how)
            if self.action_units is not None:
                cuts["action_units"] = self.action_units.cut(pixels, face)
            waiting.cuts.append(cuts)
        return waiting

    def _read(self, waiting: Sequence[_Waiting], explain: bool) -> Iterator[Reading]:
        """Complete the rows of all that wait with one pass of each network."""
        cuts = [cut for each in waiting for cut in each.cuts]
        answers: list[dict[str, Any]] = [{} for _ in cuts]

        def seen(by: str) -> NDArray[np.uint8]:
            return np.stack([cut[by] for cut in cuts])

        overlays: list[NDArray[np.uint8]] = []
        if cuts:
            read = read_emotions(self.encoder, seen("emotion"), 2 * self.batch_size)
            for answer, distribution in zip(answers, read, strict=True):
                answer["distribution"] = tuple(distribution.tolist())
            if self.gender is not None:
                for answer, (female, male) in zip(answers, self.gender.predict(seen("gender")), strict=True):
                    answer["gender"] = "female" if female >= male else "male"
                    answer["gender_probability"] = float(max(female, male))
            if self.gallery is not None:
                for answer, match in zip(answers, self.gallery.search(list(seen("gallery"))), strict=True):
                    if match is not None:
                        answer |= {"identity": match.name, "identity_distance": float(match.distance)}
            if self.action_units is not None:
                names = self.action_units.columns
                units = self.action_units.read([cut["action_units"] for cut in cuts]).tolist()
                for answer, values in zip(answers, units, strict=True):
                    answer["units"] = {
                        name: None if math.isnan(value) else value for name, value in zip(names, values, strict=True)
                    }
            if explain:
                overlays = self._overlays(seen("emotion"), seen("explain"))
        start = 0
        for each in waiting:
            if not each.cuts:
                yield Reading(each.view, tuple(each.rows))
                continue
            stop = start + len(each.cuts)
            rows = tuple(replace(row, **answer) for row, answer in zip(each.rows, answers[start:stop], strict=True))
            yield Reading(each.view, rows, tuple(overlays[start:stop]))
            start = stop

    def _overlays(self, crops: NDArray[np.uint8], details: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
        from encoder.inference.explain import grad_cam, heat_overlay

        heats = grad_cam(self.encoder, crops)
        return [heat_overlay(detail, heat) for detail, heat in zip(details, heats, strict=True)]


@dataclass
class _Waiting:
    """A view whose faces are found but not read."""

    view: View
    rows: list[FaceRow]
    cuts: list[dict[str, NDArray[np.uint8]]] = field(default_factory=list)


def _face_row(place: FaceRow, number: int, face: DetectedFace, scale: float) -> FaceRow:
    x, y, w, h = (round(value * scale) for value in face.box)
    landmarks = None if face.landmarks is None else face.landmarks * np.float32(scale)
    return replace(place, face=number, box=(x, y, w, h), score=face.score, landmarks=landmarks)
