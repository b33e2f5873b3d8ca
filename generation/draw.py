"""The one way from a request to faces: tokens are drawn, painted, read by the encoder, judged, and vetoed."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from configs.cli import UserError
from configs.values import whole
from encoder.detection.face import BatchDetector
from engine.counter_random import hash64, uniforms
from generation.faces import Face, FaceBatch, count_causes
from generation.people import People, least_changed
from generation.regions import EXPRESSION, region_boxes, token_mask
from generation.request import FaceRequest
from generation.settle import attributes_of, in_words, known_looks, settle
from generation.verify import Cause, Verdict, judge, log_match
from generation.vetoes import EYES, MOUTH, examine
from generation.weights import FaceNetworks
from vqvae.attributes import AttributeName
from vqvae.colour.degradation import NUM_UNIFORMS, degrade, luma
from vqvae.colour.ycbcr import luma as grey
from vqvae.config import SamplingConfig
from vqvae.faces import SOURCES
from vqvae.sampler import Rerank, sample_tokens

_DEGRADATION = 48
Progress = Callable[[int, int, int], None]
# Called after every step of unmasking with the seeds, the step from 0, the number of steps, the tokens so far (N, L, G), and
# (N, L) bool where they are hidden still.
OnStep = Callable[[Sequence[int], int, int, Tensor, Tensor], object]


class FaceModel(FaceNetworks):
    """Encoder, tokenizer and prior as one, and a realism critic and a probe where there are any."""

    @property
    def looks(self) -> tuple[str, ...]:
        """The looks that can be asked for, the default first."""
        return known_looks(self.prior.shape, self.tokenizer.config)

    @property
    def attributes(self) -> tuple[AttributeName, ...]:
        """What the prior may be told of a face besides emotion and look."""
        return self.prior.shape.prior.attributes

    def settled(self, request: FaceRequest) -> FaceRequest:
        """The request with all that it leaves open as these weights have it; see :func:`generation.settle.settle`."""
        return settle(request, self.prior, self.tokenizer, critic=self.critic is not None, probe=self.probe is not None)

    def generate(
        self,
        request: FaceRequest,
        *,
        batch_size: int = 32,
        progress: Progress | None = None,
        on_step: OnStep | None = None,
        seeds: Sequence[int] | None = None,
        emotions: Sequence[tuple[float, ...]] | None = None,
        taken: Callable[[Face], object] | None = None,
    ) -> FaceBatch:
        """The accepted faces; fewer than asked where ``max_tries`` ran out. Ctrl-C ends early with those accepted by then.

        Args:
            batch_size: faces computed at once. progress: called with (accepted, asked, tried) after every batch.
            seeds, emotions: of each face, where they are not as ``request`` says; of ``request.count`` faces.
            taken: called with every face that is accepted, at once; with ``best_of`` one may take the place of another.

        Raises:
            UserError: ``batch_size`` below 1, or something that these weights cannot do is asked for.
        """
        started = time.monotonic()
        request = self.settled(request)
        refused: Counter[Cause] = Counter()
        accepted: dict[int, Face] = {}
        own = range(request.seed, request.seed + request.count) if seeds is None else seeds
        pending: Sequence[int] = range(request.count)
        people = People(self, request) if request.identity else None
        tried, interrupted = 0, False
        try:
            for attempt in range(request.max_tries):
                for places in _batches(pending, batch_size):
                    wanted = None if emotions is None else [emotions[place] for place in places]
                    faces = self.draw(request, [own[place] for place in places], attempt, people, wanted, on_step)
                    drawn = zip(places, faces, strict=True)
                    better = {place: face for place, face in drawn if face.beats(accepted.get(place))}
                    accepted |= better
                    if taken is not None:
                        for face in better.values():
                            taken(face)
                    refused.update(face.refused for face in faces if face.refused is not None)
                    tried += len(places)
                    if progress is not None:
                        progress(len(accepted), request.count, tried)
                pending = [place for place in pending if place not in accepted or attempt + 1 < request.best_of]
                if not pending:
                    break
        except KeyboardInterrupt:
            if not accepted:
                raise
            interrupted = True
        return FaceBatch(
            request,
            tuple(accepted[place] for place in sorted(accepted)),
            tried,
            time.monotonic() - started,
            self.weights,
            interrupted,
            count_causes(refused),
            None if emotions is None else tuple(emotions),
            None if seeds is None else tuple(seeds),
        )

    def draw_all(self, request: FaceRequest, *, batch_size: int = 32, people: People | None = None) -> FaceBatch:
        """The first draw of every face, accepted or not: what the prior makes before any selection.

        Args:
            people: of an earlier request that differs in its emotion only, so that ``identity`` need not find them again.
        """
        started = time.monotonic()
        request = self.settled(request)
        people = people or (People(self, request) if request.identity else None)
        seeds = range(request.seed, request.seed + request.count)
        faces = tuple(face for part in _batches(seeds, batch_size) for face in self.draw(request, part, 0, people))
        refused = count_causes(face.refused for face in faces if face.refused is not None)
        return FaceBatch(request, faces, request.count, time.monotonic() - started, self.weights, refused=refused)

    def draw(
        self,
        request: FaceRequest,
        seeds: Sequence[int],
        attempt: int,
        people: People | None = None,
        emotions: Sequence[Sequence[float]] | None = None,
        on_step: OnStep | None = None,
    ) -> list[Face]:
        """One face a seed, read and judged by the request, or by an emotion of its own.

        Args:
            attempt: another one gives other faces for the same seeds.
            people: who is drawn where ``request.identity`` is set; of the same request, so that each is found once.
        """
        request = self.settled(request)
        emotions = [request.emotion] * len(seeds) if emotions is None else emotions
        known = (people or People(self, request)).tokens(seeds) if request.identity else None
        hidden = None if known is None else self.expression_mask()
        tokens = self.draw_tokens(request, emotions, seeds, attempt, known, hidden, on_step=on_step)
        if known is not None:
            tokens = self.as_known(request, known, tokens, emotions, seeds, attempt)
        return self.judged(request, tokens, emotions, seeds, attempt)

    def judged(
        self,
        request: FaceRequest,
        tokens: Tensor,
        emotions: Sequence[Sequence[float]],
        seeds: Sequence[int],
        attempt: int | Sequence[int] = 0,
        told: NDArray[np.int64] | None = None,
    ) -> list[Face]:
        """The faces of tokens (N, L, G), each read, and looked at by those who may refuse it.

        Critic, probe and detector see what was painted, also where it is then degraded to another look.

        Args:
            attempt, told: as for :meth:`draw_tokens`.
        """
        request, painted = self.settled(request), self.pixels(tokens)
        images = self.shown(request, painted, seeds, attempt)
        verdicts = self.read(request, images, emotions)
        detector = _detector if request.landmarks == "on" else None
        rows = attributes_of(request, seeds, self.attributes) if told is None else told
        words = [in_words(row, self.attributes) for row in rows.tolist()]
        shows = [verdict.accepted for verdict in verdicts]
        probe = self.probe if request.as_told == "on" else None
        found = examine(painted, shows, self.critic, request.realism, probe, words, detector)
        tries = (np.broadcast_to(attempt, len(seeds)) + 1).tolist()
        return [
            Face(image, seed, draw, verdict, about, each.realism, each.landmarks, each.refused, tuple(asked), each.seen)
            for image, seed, draw, verdict, about, each, asked in zip(
                images, seeds, tries, verdicts, words, found, emotions, strict=True
            )
        ]

    def draw_tokens(
        self,
        request: FaceRequest,
        emotions: Sequence[Sequence[float]],
        seeds: Sequence[int],
        attempt: int | Sequence[int] = 0,
        known: Tensor | None = None,
        hidden: Tensor | None = None,
        prefer: Tensor | None = None,
        on_step: OnStep | None = None,
        told: NDArray[np.int64] | None = None,
    ) -> Tensor:
        """Tokens (N, L, G) of N faces under the request's settings, each with its own emotion and seed.

        Args:
            attempt: another one gives other faces for the same seeds; of all, or of each.
            known, hidden, prefer: as for :func:`vqvae.sampler.sample_tokens`.
            told: (N, A) what the prior is told of each, where that is not as ``request`` says for all.
        """
        request, device = self.settled(request), self.encoder.device
        rows = attributes_of(request, seeds, self.attributes) if told is None else told
        asked = torch.tensor(list(emotions), dtype=torch.float32, device=device)
        avoid = None if request.avoid is None else torch.tensor([request.avoid], device=device).expand(len(seeds), -1)
        with torch.autocast(device.type, torch.bfloat16, enabled=request.precision == "bf16"):
            return sample_tokens(
                self.prior,
                asked,
                torch.full((len(seeds),), SOURCES.index(str(request.look)), device=device),
                # Hashed to 32 bits: torch's CPU generator ignores all bits above them.
                (hash64(np.asarray(seeds, np.int64), attempt) >> np.uint64(32)).tolist(),
                **{name: getattr(request, name) for name in SamplingConfig.model_fields},
                attributes=torch.from_numpy(rows).to(device) if self.attributes else None,
                avoid=avoid,
                avoidance=request.avoidance,
                known=known,
                hidden=hidden,
                prefer=prefer,
                rerank=self._rerank(request, asked, avoid) if request.encoder_guidance else None,
                on_step=None if on_step is None else partial(on_step, seeds),
            )

    def as_known(
        self,
        request: FaceRequest,
        known: Tensor,
        tokens: Tensor,
        emotions: Sequence[Sequence[float]],
        seeds: Sequence[int],
        attempt: int | Sequence[int] = 0,
    ) -> Tensor:
        """Tokens (N, L, G) drawn of people, as near to the people ``known`` as the emotion allows; see
        :mod:`generation.people`. Arguments as for :meth:`judged`."""
        attempts, request = np.broadcast_to(attempt, len(seeds)), self.settled(request)

        def read(made: Tensor, numbers: Sequence[int]) -> list[Verdict]:
            its = [seeds[number] for number in numbers]
            images = self.shown(request, self.pixels(made), its, attempts[list(numbers)].tolist())
            return self.read(request, images, [emotions[number] for number in numbers])

        return least_changed(self.tokenizer, known, tokens, read)

    def pixels(self, tokens: Tensor) -> Tensor:
        """The faces (N, C, P, P) uint8 of tokens (N, L, G), as the decoder paints them."""
        return (self.tokenizer.decode(tokens) * 255.0).round().to(torch.uint8)

    def shown(
        self, request: FaceRequest, painted: Tensor, seeds: Sequence[int], attempt: int | Sequence[int] = 0
    ) -> NDArray[np.uint8]:
        """Painted faces (N, C, P, P) as they are delivered: (N, H, W) grey or (N, H, W, 3) in colour.

        A photograph is degraded to a grey web picture of the encoder's size where ``fer2013`` is asked for, in a way that
        its seed chooses.
        """
        if painted.shape[1] == 1:
            return painted.squeeze(1).cpu().numpy()
        photographs = painted.permute(0, 2, 3, 1).contiguous().cpu().numpy()
        if request.look == "photo":
            return photographs
        how = uniforms(_DEGRADATION, np.asarray(seeds, np.int64), attempt, count=NUM_UNIFORMS)
        side = self.tokenizer.config.size
        return np.stack([degrade(grey, u, side) for grey, u in zip(luma(photographs), how, strict=True)])

    def read(self, request: FaceRequest, faces: Any, emotions: Sequence[Sequence[float]]) -> list[Verdict]:
        """What the encoder says of faces as it takes them, against what was asked of each.

        By PyTorch: a face of the same seed is to be accepted, and recorded, alike wherever ONNX Runtime can be used or not.
        """
        rows = self.encoder.predict(faces, runtime="pytorch").distributions.tolist()
        return [judge(asked, row, request.threshold, request.avoid) for asked, row in zip(emotions, rows, strict=True)]

    def expression_mask(self) -> Tensor:
        """(L,) bool: the tokens of brows, eyes and mouth in an aligned face."""
        config = self.tokenizer.config
        boxes = region_boxes(EXPRESSION, eyes=EYES, mouth=MOUTH) if config.paints_photographs else region_boxes(EXPRESSION)
        return token_mask(boxes, config.grid).to(self.encoder.device)

    def _rerank(self, request: FaceRequest, asked: Tensor, avoid: Tensor | None) -> Rerank:
        def score(tokens: Tensor) -> Tensor:
            faces = self.tokenizer.decode(tokens.flatten(0, 1))
            read = [self.encoder.log_distribution(self.encoder.forward_unit(grey(part))) for part in faces.split(16)]
            log_read = torch.cat(read).view(*tokens.shape[:2], -1)
            return request.encoder_guidance * log_match(asked, log_read, avoid)

        return Rerank(score, request.candidates)


@cache
def _detector() -> BatchDetector:
    from encoder.detection.centerface import CenterFaceDetector

    return CenterFaceDetector()


def _batches(seeds: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    if whole("batch_size", size) < 1:
        raise UserError(f"batch_size must be at least 1, got {size}")
    return (seeds[start : start + size] for start in range(0, len(seeds), size))
