"""Another expression for a face in a picture: its tokens kept but for brows, eyes and mouth, which are drawn anew."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from configs.cli import UserError
from configs.values import real, refuse, whole
from encoder.detection.align import Placement, cut_square, face_square
from encoder.detection.face import DetectedFace, Detector
from encoder.detection.registry import DEFAULT_DETECTOR
from encoder.detection.whole import whole_face
from encoder.inference.emotion_encoder import EmotionEncoder
from encoder.people.embeddings import Embedder
from encoder.pictures.given import picture_of
from generation.draw import FaceModel
from generation.editing import DEFAULTS, LOOKS, NOT_FOR_EDITS
from generation.editing.place import find_faces
from generation.editing.proposals import Edit, Proposals
from generation.regions import EXPRESSION
from generation.request import Asked, FaceRequest, FaceSettings, make_request

_CLOSE_UP = 1.5


@dataclass(frozen=True, eq=False)
class EditedFace:
    """A face before and after.

    Attributes:
        request: what was asked for, ``count`` proposals from ``seed`` on.
        before: the face as it was, read in the same way.
        edits: proposals, the best first. ``strip``: the best one's seed at rising intensities, if asked for.
        picture: (H, W, 3) uint8 RGB, untouched. ``corner``: left and top of the parts in it.
        face: as it was found in the picture. aligned: the picture is the face as these weights have it, and nothing else.
        tokens: (grid, grid) bool, what was drawn anew.
        embedder: name of what measured identity, None where nothing did.
    """

    request: FaceRequest
    before: Edit
    edits: tuple[Edit, ...]
    strip: tuple[Edit, ...]
    picture: NDArray[np.uint8] = field(repr=False)
    corner: tuple[int, int]
    face: DetectedFace
    aligned: bool
    tokens: NDArray[np.bool_]
    embedder: str | None
    seconds: float
    weights: dict[str, str]

    def render(self, edit: Edit) -> NDArray[np.uint8]:
        """The whole picture, (H, W, 3) uint8 RGB, with ``edit`` in it."""
        whole, (left, top) = self.picture.copy(), self.corner
        whole[top : top + edit.part.shape[0], left : left + edit.part.shape[1]] = edit.part
        return whole

    def close_up(self, edit: Edit, size: int) -> NDArray[np.uint8]:
        """(size, size, 3) uint8 RGB: the head around the face, level, as far as the picture reaches."""
        height, width = self.picture.shape[:2]
        place = Placement.of_all(width) if self.aligned else face_square(self.face, scale=_CLOSE_UP).inside(width, height)
        return cut_square(self.render(edit), place, size)


def edit_face(
    model: FaceModel,
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
    """Change the expression of one face.

    Args:
        picture: see :func:`encoder.pictures.given.picture_of`.
        emotion, intensity, seed: as for generating; intensity 0 gives a neutral face. Proposal i uses ``seed + i``.
        count: proposals.
        region: parts (``"mouth,eyes"``; brows, eyes, nose, mouth, all) or a box (x, y, width, height) in pixels. Parts are
            found by the detector's 68 landmarks; without them where an aligned face has them, moved to the eyes and the
            mouth that the detector found.
        face: which one, counted from the largest.
        keep: how much codes like those of the old face are preferred; 0 lets the model choose freely.
        strip: further intensities at which to show the best proposal.
        judge: a second network that reads the outcome and has no say in it.
        embedder: measures identity, and has no say in it either. Without one identity is not measured.
        settings: see :class:`generation.request.FaceRequest`. By default the look is ``photo``, or ``faces128`` of weights that
            know no photo, the guidance 1 and the temperature 0.5 without autoguidance, and of gender, age and group the model
            is told nothing.

    Raises:
        UserError: no such face, a face below 32 pixels, a setting that is unknown or out of range, or something that is no
            picture.
        BadImage: a file or its bytes cannot be read as a picture.
    """
    started = time.monotonic()
    for name in NOT_FOR_EDITS:
        if name in settings:
            raise UserError(f"{name}: has no meaning for an edit; leave it out")
    seed, count, face, keep = whole("seed", seed), whole("count", count), whole("face", face), real("keep", keep)
    if not (math.isfinite(keep) and 0.0 <= keep <= 100.0):
        raise UserError(f"keep must lie between 0 and 100, got {keep}")
    if not isinstance(strip, Sequence | np.ndarray) or isinstance(strip, str):
        refuse("strip", "a list of intensities from 0 to 1", strip)
    for name, part, does in (("detector", detector, "detect"), ("judge", judge, "predict"), ("embedder", embedder, "embed")):
        if part is not None and not hasattr(part, does) and not (name == "detector" and isinstance(part, str)):
            refuse(name, f"an object with the method {does}", part)
    look = next((look for look in LOOKS if look in model.looks), None)
    asked: dict[str, Any] = DEFAULTS | ({} if "source" in settings else {"look": look}) | dict(settings)
    request = model.settled(make_request(emotion, count, seed, intensity=intensity, **asked))
    levels = [model.settled(make_request(emotion, 1, seed, intensity=level, **asked)) for level in strip]
    pixels = picture_of(picture).pixels
    found = find_faces(pixels, detector, face)
    chosen = found[face - 1]
    # What encoder.analyze would read whole is read whole here, too.
    whole_picture = face == 1 and whole_face(pixels, found, "auto") is not None
    work = Proposals(model, pixels, chosen, region, keep, judge, embedder, whole_picture)
    before = work.measured(work.read(request, work.part, 0.0, seed, 0.0))
    seeds = [seed + number for number in range(count)]
    edits = work.propose(request, seeds, intensity)
    shown = work.draw(levels, [edits[0].seed] * len(levels), list(strip), edits[0].upper) if levels else []
    return EditedFace(
        request=request,
        before=before,
        edits=tuple(edits),
        strip=tuple(shown),
        picture=pixels,
        corner=work.corner,
        face=chosen,
        aligned=work.aligned,
        tokens=work.grid_mask,
        embedder=None if embedder is None else embedder.name,
        seconds=time.monotonic() - started,
        weights=model.weights,
    )
