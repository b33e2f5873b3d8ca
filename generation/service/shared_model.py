"""The generator as one order sees it: its loops of drawing, reading and judging, on networks that others use as well."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock

import torch
from torch import Tensor

from generation.draw import FaceModel, OnStep
from generation.faces import Face
from generation.people import People, neutral_request
from generation.request import FaceRequest
from generation.service.together import Draw
from generation.service.turns import Place, Turns

# People that are remembered, over all settings: some kilobytes each.
_MOST_PEOPLE = 4096


class KnownPeople:
    """People who were found before, so that whoever asks for the same ones again need not wait."""

    def __init__(self) -> None:
        self._by_request: dict[FaceRequest, dict[int, Tensor]] = {}
        self._lock = Lock()

    def of(self, request: FaceRequest) -> dict[int, Tensor]:
        """Tokens by seed, to be added to."""
        key = neutral_request(request).model_copy(update={"count": 1, "seed": 0, "best_of": 1})
        with self._lock:
            if sum(map(len, self._by_request.values())) > _MOST_PEOPLE:
                self._by_request.clear()
            return self._by_request.setdefault(key, {})


class SharedModel(FaceModel):
    """Draws in its turn, together with what other orders draw; all else is that of a :class:`generation.draw.FaceModel`.

    Args:
        model: whose networks it shares.
        place: of the order that it draws for.
    """

    def __init__(self, model: FaceModel, turns: Turns, place: Place, known: KnownPeople) -> None:
        super().__init__(model.encoder, model.tokenizer, model.prior, model.weights, model.critic, model.notes, model.probe)
        self._turns, self._place, self._known = turns, place, known

    def draw(
        self,
        request: FaceRequest,
        seeds: Sequence[int],
        attempt: int,
        people: People | None = None,
        emotions: Sequence[Sequence[float]] | None = None,
        on_step: OnStep | None = None,
    ) -> list[Face]:
        """As in the class above, but that the people are those of :meth:`people`: they may be known already."""
        request = self.settled(request)
        return self.draw_people(request, seeds, attempt, emotions, self.people(request) if request.identity else None)

    def draw_people(
        self,
        request: FaceRequest,
        seeds: Sequence[int],
        attempt: int,
        emotions: Sequence[Sequence[float]] | None,
        people: People | None,
    ) -> list[Face]:
        """One draw a seed; ``people`` may be those of a request with other settings."""
        asked = [request.emotion] * len(seeds) if emotions is None else emotions
        known = [None] * len(seeds) if people is None else list(people.tokens(seeds))
        rows = zip(asked, seeds, known, strict=True)
        draws = [Draw(request, tuple(emotion), seed, attempt, who) for emotion, seed, who in rows]
        return [drawn.face for drawn in self._turns.draw(self._place, draws)]

    def nearest_people(self, request: FaceRequest, seeds: Sequence[int], steps: int) -> People:
        """The people of a settled request where all were found before; else others for a first sight: neutral faces of a few
        steps, of one draw each, which nobody looks at.
        """
        known = self._known.of(request)
        if set(seeds) <= known.keys():
            return self.people(request)
        quick = request.model_copy(update={"steps": steps, "guidance": 0.0, "max_tries": 1})
        sketched, neutral = self._known.of(quick), neutral_request(quick).model_copy(update={"guidance": 0.0})
        missing = [seed for seed in dict.fromkeys(seeds) if seed not in sketched]
        if missing:
            emotions = [neutral.emotion] * len(missing)
            tokens = self._turns.call(self._place, lambda: self.draw_tokens(neutral, emotions, missing))
            sketched.update(zip(missing, tokens, strict=True))
        return self.people(quick)

    def people(self, request: FaceRequest) -> People:
        """The people of a settled request."""
        return People(_Casting(self._turns, self._place), request, self._known.of(request))


class _Casting:
    """Draws and judges neutral faces in one go, as a queue would have it, and gives first the tokens, then the faces."""

    def __init__(self, turns: Turns, place: Place) -> None:
        self._turns, self._place = turns, place
        self._faces: list[Face] = []

    def draw_tokens(
        self, request: FaceRequest, emotions: Sequence[Sequence[float]], seeds: Sequence[int], attempt: int = 0
    ) -> Tensor:
        draws = [Draw(request, tuple(emotion), seed, attempt) for emotion, seed in zip(emotions, seeds, strict=True)]
        drawn = self._turns.draw(self._place, draws)
        self._faces = [each.face for each in drawn]
        return torch.stack([each.tokens for each in drawn])

    def judged(
        self,
        request: FaceRequest,
        tokens: Tensor,
        emotions: Sequence[Sequence[float]],
        seeds: Sequence[int],
        attempt: int = 0,
    ) -> list[Face]:
        return self._faces
