"""Another expression for a face in a picture: its tokens kept but for brows, eyes and mouth, which are drawn anew."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Unpack

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from configs.cli import UserError
from configs.values import real, refuse, whole
from encoder.analysis.cuts import cut_emotion, read_emotions
from encoder.detection.align import Placement, crop_face, cut_square, face_square
from encoder.detection.face import DetectedFace, Detector
from encoder.detection.registry import DEFAULT_DETECTOR
from encoder.detection.whole import whole_face
from encoder.inference.emotion_encoder import EmotionEncoder
from encoder.people.embeddings import Embedder, checked_embeddings, distances
from encoder.people.identity import Verification
from encoder.pictures.given import picture_of
from generation.draw import FaceModel
from generation.editing import DEFAULTS, LOOKS, NOT_FOR_EDITS
from generation.editing.place import boxes_of, find_faces, place_of
from generation.editing.seam import as_web_picture, luma, paste, soft_mask, without_luma
from generation.regions import EXPRESSION, token_mask
from generation.request import Asked, FaceRequest, FaceSettings, make_request
from generation.verify import Verdict
from generation.verify import judge as judged_by

# Crops for identity, in colour; what the networks of others are used to.
_IDENTITY_SIZE = 160
# The part of the picture that is worked on reaches so many sides of the crop from its centre.
_REACH = 1.2
_CLOSE_UP = 1.5


@dataclass(frozen=True, eq=False)
class Edit:
    """One proposal for the new expression. All readings are of the finished picture, seam included.

    Attributes:
        part: (h, w, 3) uint8 RGB, the part of the picture around the face.
        seed, intensity: that gave it.
        verdict: the encoder's reading. ``judged``: the second judge's seven probabilities, if there is one.
        change: mean change of luma inside the region, as a share of the full range.
        identity: distance to the face before and whether its embedder calls both one person; None without an embedder.
        judge_features: cosine of the second judge's features before and after: weaker than identity and no measure of it.
    """

    part: NDArray[np.uint8]
    seed: int
    intensity: float
    verdict: Verdict
    change: float
    judged: tuple[float, ...] | None = None
    judge_features: float | None = None
    identity: Verification | None = None

    @property
    def score(self) -> float:
        """What proposals are ranked by: the match, less the change, so that of two alike the nearer one wins."""
        return self.verdict.match - self.change


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
            know no photo, the temperature 0.5, and of gender, age and group the model is told nothing.

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
    work = _Work(model, pixels, chosen, region, keep, judge, embedder, whole_picture)
    before = work.read(request, work.part, 0.0, seed, 0.0)
    seeds = [seed + number for number in range(count)]
    edits = sorted(work.draw([request] * count, seeds, [intensity] * count), key=lambda edit: (-edit.score, edit.seed))
    shown = work.draw(levels, [edits[0].seed] * len(levels), list(strip)) if levels else []
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


class _Work:
    """One face of one picture, cut out and tokenised once for all proposals."""

    def __init__(
        self,
        model: FaceModel,
        picture: NDArray[np.uint8],
        face: DetectedFace,
        region: str | Sequence[float],
        keep: float,
        second: EmotionEncoder | None,
        embedder: Embedder | None,
        whole_picture: bool,
    ) -> None:
        self._model, self._second, self._embedder, self._whole_picture = model, second, embedder, whole_picture
        # Faces are read in the whole picture, where they were found; parts lie at one place, so one copy serves all.
        self._picture, self._found = picture.copy(), face
        config = model.tokenizer.config
        self._size, grid, self._tokens_crop = config.painted, config.grid, config.crop
        place = place_of(face, self._tokens_crop, picture.shape[:2])
        self.aligned = place == Placement.of_all(picture.shape[1])
        self._mask = token_mask(boxes_of(region, place, face), grid).to(model.encoder.device)
        self.grid_mask = self._mask.view(grid, grid).cpu().numpy()
        reach = _REACH * place.side
        left, top = max(0, math.floor(place.x - reach)), max(0, math.floor(place.y - reach))
        self.corner = left, top
        self.part = picture[top : math.ceil(place.y + reach), left : math.ceil(place.x + reach)].copy()
        points = None if face.landmarks is None else face.landmarks - np.array([left, top], np.float32)
        self._face = replace(face, box=(face.box[0] - left, face.box[1] - top, *face.box[2:]), landmarks=points)
        self._place = replace(place, x=place.x - left, y=place.y - top)
        self._crop = luma(self._cut_tokens(self.part))
        seen = as_web_picture(self._crop, config.size) if config.paints_photographs else self._crop
        pixels = torch.from_numpy(seen)[None, None].to(model.encoder.device) / 255.0
        self._known = model.tokenizer.encode(pixels)
        self._repeated = self._painted(self._known)[0]
        self._weight = soft_mask(self.grid_mask, self._size)
        self._prefer = keep * model.tokenizer.quantizer.likeness(self._known) if keep else None
        self._features = None if second is None else self._features_of(second, self._shown_to(second, self.part))
        self._vector = None if embedder is None else self._embed(embedder, self.part)

    def draw(self, requests: Sequence[FaceRequest], seeds: Sequence[int], intensities: Sequence[float]) -> list[Edit]:
        """One proposal for each request and seed; the requests differ in their emotion only."""
        made = self._model.draw_tokens(
            requests[0],
            [request.emotion for request in requests],
            seeds,
            known=self._known.expand(len(seeds), -1, -1),
            hidden=self._mask,
            prefer=self._prefer,
        )
        inside = self._weight > 0.5
        # Where a crop is aligned, 0 is the middle of the first pixel; where it is FER-2013's square, and to the seam, its corner.
        shift = 0.0 if self._tokens_crop is None else 0.5
        pasted = replace(self._place, x=self._place.x + shift, y=self._place.y + shift)
        edits = []
        for request, seed, intensity, after in zip(requests, seeds, intensities, self._painted(made), strict=True):
            tint = without_luma(after) - without_luma(self._repeated) if after.ndim == 3 else None
            part = paste(self.part, pasted, self._crop, luma(self._repeated), luma(after), self._weight, tint)
            moved = np.abs(luma(self._cut_tokens(part)) - self._crop)
            change = float(moved[inside].mean()) / 255.0 if inside.any() else 0.0
            edits.append(self.read(request, part, change, seed, intensity))
        return edits

    def read(self, request: FaceRequest, part: NDArray[np.uint8], change: float, seed: int, intensity: float) -> Edit:
        """What encoder, second judge and embedder say of the face in ``part``."""
        (read,) = read_emotions(self._model.encoder, self._shown_to(self._model.encoder, part)[None]).tolist()
        edit = Edit(part, seed, intensity, judged_by(request.emotion, read, request.threshold, request.avoid), change)
        if self._second is not None and self._features is not None:
            shown = self._shown_to(self._second, part)
            alike = float(torch.cosine_similarity(self._features_of(self._second, shown), self._features, dim=0))
            (judged,) = read_emotions(self._second, shown[None]).tolist()
            edit = replace(edit, judged=tuple(judged), judge_features=alike)
        if self._embedder is not None and self._vector is not None:
            apart = float(distances(self._vector, self._embed(self._embedder, part), self._embedder.metric)[0, 0])
            edit = replace(edit, identity=Verification(apart, apart <= self._embedder.threshold))
        return edit

    def _cut_tokens(self, part: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if self._tokens_crop is None:
            return crop_face(part, self._face, self._size)
        return cut_square(part, self._place, self._size)

    def _shown_to(self, encoder: EmotionEncoder, part: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The face as :class:`encoder.analysis.analyzer.FaceAnalyzer` would cut it out of the picture with ``part`` in it."""
        left, top = self.corner
        self._picture[top : top + part.shape[0], left : left + part.shape[1]] = part
        return cut_emotion(self._picture, self._found, encoder, whole=self._whole_picture)

    @staticmethod
    def _features_of(judge: EmotionEncoder, shown: NDArray[np.uint8]) -> Tensor:
        return judge.predict(shown[None], runtime="pytorch").embeddings[0]

    def _painted(self, tokens: Tensor) -> NDArray[np.float32]:
        """(N, P, P) grey or (N, P, P, 3) in colour, 0 to 255, not rounded."""
        faces = self._model.tokenizer.decode(tokens).cpu().numpy() * 255.0
        return np.asarray(faces[:, 0] if faces.shape[1] == 1 else faces.transpose(0, 2, 3, 1), np.float32)

    def _embed(self, embedder: Embedder, part: NDArray[np.uint8]) -> NDArray[np.float32]:
        return checked_embeddings(embedder, [crop_face(part, self._face, _IDENTITY_SIZE)])
