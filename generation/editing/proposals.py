"""Proposals for another expression of one face: drawn, painted, put into the picture, read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from encoder.analysis.cuts import cut_emotion, read_emotions
from encoder.detection.align import Placement, crop_face, cut_square
from encoder.detection.face import DetectedFace
from encoder.inference.emotion_encoder import EmotionEncoder
from encoder.people.embeddings import Embedder, checked_embeddings, distances
from encoder.people.identity import Verification
from generation.draw import FaceModel
from generation.editing.place import boxes_of, place_of
from generation.editing.seam import as_web_picture, luma, paste, soft_mask
from generation.people import STEPS
from generation.regions import token_mask
from generation.request import FaceRequest
from generation.verify import Verdict
from generation.verify import judge as judged_by

# Crops for identity, in colour; what the networks of others are used to.
_IDENTITY_SIZE = 160
# The part of the picture that is worked on reaches so many sides of the crop from its centre.
_REACH = 1.2
# Share of the best match that shows the emotion nearly as well.
_ENOUGH = 0.8


@dataclass(frozen=True, eq=False)
class Edit:
    """One proposal for the new expression. All readings are of the finished picture, seam included.

    Attributes:
        part: (h, w, 3) uint8 RGB, the part of the picture around the face.
        seed, intensity: that gave it.
        verdict: the encoder's reading. ``judged``: the second judge's seven probabilities, if there is one.
        change: mean change of luma inside the region, as a share of the full range.
        upper: how far all but the mouth goes from the old face, 0, to what was drawn, 1.
        identity: distance to the face before and whether its embedder calls both one person; None without an embedder.
        judge_features: cosine of the second judge's features before and after: weaker than identity and no measure of it.
    """

    part: NDArray[np.uint8]
    seed: int
    intensity: float
    verdict: Verdict
    change: float
    upper: float = 0.0
    judged: tuple[float, ...] | None = None
    judge_features: float | None = None
    identity: Verification | None = None


class Proposals:
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
        self._mouth = token_mask(boxes_of("mouth", place, face), grid).to(self._mask.device)
        reach = _REACH * place.side
        left, top = max(0, math.floor(place.x - reach)), max(0, math.floor(place.y - reach))
        self.corner = left, top
        self.part = picture[top : math.ceil(place.y + reach), left : math.ceil(place.x + reach)].copy()
        points = None if face.landmarks is None else face.landmarks - np.array([left, top], np.float32)
        self._face = replace(face, box=(face.box[0] - left, face.box[1] - top, *face.box[2:]), landmarks=points)
        self._place = replace(place, x=place.x - left, y=place.y - top)
        cut = self._cut_tokens(self.part).astype(np.float32)
        self._grey = luma(cut)
        seen = as_web_picture(self._grey, config.size) if config.paints_photographs else self._grey
        pixels = torch.from_numpy(seen)[None, None].to(model.encoder.device) / 255.0
        self._known = model.tokenizer.encode(pixels)
        self._repeated = _pixels(model.tokenizer.decode(self._known))[0]
        self._crop = self._grey if self._repeated.ndim == 2 else cut
        self._inside = soft_mask(self.grid_mask, self._size) > 0.5
        self._prefer = keep * model.tokenizer.quantizer.likeness(self._known) if keep else None
        self._features = None if second is None else self._features_of(second, self._shown_to(second, self.part))
        self._vector = None if embedder is None else self._embed(embedder, self.part)

    def propose(self, request: FaceRequest, seeds: Sequence[int], intensity: float) -> list[Edit]:
        """One proposal a seed, the best first: of each the least change that shows the emotion nearly as well as all of it.

        Of the proposals those come first that are accepted and show it nearly as well as any, the least change first; the others
        follow by their match. What a seed gives does not depend on the other seeds.
        """
        made = self._drawn([request] * len(seeds), seeds)

        def painted(numbers: Sequence[int], upper: float) -> dict[int, Edit]:
            asked = [(request, seeds[number], intensity) for number in numbers]
            return dict(zip(numbers, self._edits(made[list(numbers)], asked, upper), strict=True))

        full = painted(range(len(seeds)), 1.0)
        edits, left = dict(full), list(full)
        for upper in self._steps():
            tried = painted(left, upper)
            edits |= {number: edit for number, edit in tried.items() if _shows(edit, full[number].verdict.match)}
            left = [number for number in left if edits[number] is full[number]]
        best = max(edit.verdict.match for edit in edits.values())

        def place(edit: Edit) -> tuple[bool, float, int]:
            return (False, edit.change, edit.seed) if _shows(edit, best) else (True, -edit.verdict.match, edit.seed)

        return [self.measured(edit) for edit in sorted(edits.values(), key=place)]

    def draw(
        self, requests: Sequence[FaceRequest], seeds: Sequence[int], intensities: Sequence[float], upper: float
    ) -> list[Edit]:
        """One proposal for each request and seed, so far from the old face; the requests differ in their emotion only."""
        asked = list(zip(requests, seeds, intensities, strict=True))
        return [self.measured(edit) for edit in self._edits(self._drawn(requests, seeds), asked, upper)]

    def _steps(self) -> tuple[float, ...]:
        """What is tried before all of the change; nothing where the mouth alone may change."""
        if not bool((self._mask & ~self._mouth).any()):
            return ()
        return STEPS if bool((self._mask & self._mouth).any()) else STEPS[1:]

    def _drawn(self, requests: Sequence[FaceRequest], seeds: Sequence[int]) -> Tensor:
        return self._model.draw_tokens(
            requests[0],
            [request.emotion for request in requests],
            seeds,
            known=self._known.expand(len(seeds), -1, -1),
            hidden=self._mask,
            prefer=self._prefer,
        )

    def _edits(self, made: Tensor, asked: Sequence[tuple[FaceRequest, int, float]], upper: float) -> list[Edit]:
        """Tokens put into the picture and read, each by its request, seed and intensity."""
        if not len(made):
            return []
        share = self._mask * torch.where(self._mouth, 1.0, upper)
        weight = soft_mask((share > 0).view(self.grid_mask.shape).cpu().numpy(), self._size)
        # Where a crop is aligned, 0 is the middle of the first pixel; where it is FER-2013's square, and to the seam, its corner.
        shift = 0.0 if self._tokens_crop is None else 0.5
        pasted = replace(self._place, x=self._place.x + shift, y=self._place.y + shift)
        edits = []
        painted = _pixels(self._model.tokenizer.decode_between(self._known.expand(len(made), -1, -1), made, share))
        for (request, seed, intensity), after in zip(asked, painted, strict=True):
            part = paste(self.part, pasted, self._crop, self._repeated, after, weight)
            moved = np.abs(luma(self._cut_tokens(part)) - self._grey)
            change = float(moved[self._inside].mean()) / 255.0 if self._inside.any() else 0.0
            edits.append(replace(self.read(request, part, change, seed, intensity), upper=upper))
        return edits

    def read(self, request: FaceRequest, part: NDArray[np.uint8], change: float, seed: int, intensity: float) -> Edit:
        """What the encoder says of the face in ``part``."""
        (read,) = read_emotions(self._model.encoder, self._shown_to(self._model.encoder, part)[None]).tolist()
        return Edit(part, seed, intensity, judged_by(request.emotion, read, request.threshold, request.avoid), change)

    def measured(self, edit: Edit) -> Edit:
        """What second judge and embedder say of it, where there are any: those who have no say in it."""
        if self._second is not None and self._features is not None:
            shown = self._shown_to(self._second, edit.part)
            alike = float(torch.cosine_similarity(self._features_of(self._second, shown), self._features, dim=0))
            (judged,) = read_emotions(self._second, shown[None]).tolist()
            edit = replace(edit, judged=tuple(judged), judge_features=alike)
        if self._embedder is not None and self._vector is not None:
            apart = float(distances(self._vector, self._embed(self._embedder, edit.part), self._embedder.metric)[0, 0])
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

    def _embed(self, embedder: Embedder, part: NDArray[np.uint8]) -> NDArray[np.float32]:
        return checked_embeddings(embedder, [crop_face(part, self._face, _IDENTITY_SIZE)])


def _shows(edit: Edit, match: float) -> bool:
    """Whether the emotion that was asked for is there, nearly as well as where it reaches this match."""
    return edit.verdict.accepted and edit.verdict.match >= _ENOUGH * match


def _pixels(faces: Tensor) -> NDArray[np.float32]:
    """(N, C, P, P) in [0, 1] as (N, P, P) grey or (N, P, P, 3) in colour, 0 to 255, not rounded."""
    pixels = faces.cpu().numpy() * 255.0
    return np.asarray(pixels[:, 0] if pixels.shape[1] == 1 else pixels.transpose(0, 2, 3, 1), np.float32)
