"""The one way from a request to faces: tokens are drawn, painted, read by the encoder and judged."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from configs.cli import UserError
from encoder.inference.emotion_encoder import EmotionEncoder
from engine.counter_random import hash64
from engine.devices import resolve_device
from engine.storage.weights import WEIGHTS_FILE, file_sha256, resolve_folder
from generation.faces import Face, FaceBatch
from generation.people import People
from generation.regions import EXPRESSION, region_boxes, token_mask
from generation.request import FaceRequest
from generation.verify import Verdict, judge, log_match
from vqvae.faces import SOURCES
from vqvae.prior import MaskedPrior
from vqvae.sampler import Rerank, sample_tokens
from vqvae.tokenizer import Tokenizer

PARTS = ("encoder", "tokenizer", "prior")
Progress = Callable[[int, int, int], None]


class FaceModel:
    """Encoder, tokenizer and prior as one.

    Attributes:
        weights: SHA-256 of the weights of each part.
    """

    def __init__(
        self, encoder: EmotionEncoder, tokenizer: Tokenizer, prior: MaskedPrior, weights: dict[str, str] | None = None
    ) -> None:
        shape, config = prior.shape, tokenizer.config
        have = (config.grid**2, config.groups, config.codebook_size)
        if (shape.positions, shape.groups, shape.codebook_size) != have:
            raise UserError("prior and tokenizer do not belong together: they differ in positions, groups or codebook size")
        self.encoder, self.tokenizer, self.prior = encoder, tokenizer, prior
        self.weights = weights or {}

    @classmethod
    def from_pretrained(cls, folder: str | Path = "pretrained", *, encoder: str | Path | None = None) -> Self:
        """Load ``encoder``, ``tokenizer`` and ``prior`` from the folders of these names in ``folder``.

        Args:
            folder: from the current directory, or as shipped with the project.
            encoder: another folder for the encoder.

        Raises:
            UserError: a part is missing or refused, or the prior was trained on other tokens.
        """
        root = resolve_folder(str(folder))
        places = {part: root / part for part in PARTS}
        if encoder is not None:
            places["encoder"] = resolve_folder(str(encoder))
        for part, place in places.items():
            if not place.is_dir():
                hint = " (or name one: --encoder FOLDER)" if part == "encoder" else ""
                raise UserError(f"{place}: no such folder; weights need {', '.join(PARTS)}{hint}")
        reader = EmotionEncoder.from_pretrained(places["encoder"])
        tokenizer, prior = Tokenizer.from_pretrained(places["tokenizer"]), MaskedPrior.from_pretrained(places["prior"])
        trained_on = prior.shape.tokenizer_sha256
        if trained_on and trained_on != tokenizer.encoding_sha256():
            raise UserError(f"{places['prior']}: was trained on tokens that {places['tokenizer']} does not make")
        return cls(reader, tokenizer, prior, {part: file_sha256(place / WEIGHTS_FILE) for part, place in places.items()})

    def to(self, device: torch.device | str) -> Self:
        """Move all parts to ``device`` (``auto``: CUDA where there is one); returns self."""
        place = resolve_device(str(device))
        for part in (self.encoder, self.tokenizer, self.prior):
            part.to(place)
        return self

    def generate(self, request: FaceRequest, *, batch_size: int = 32, progress: Progress | None = None) -> FaceBatch:
        """The accepted faces; fewer than asked where ``max_tries`` ran out. Ctrl-C ends early with those accepted by then.

        Args:
            batch_size: faces computed at once. progress: called with (accepted, asked, tried) after every batch.

        Raises:
            UserError: ``batch_size`` below 1.
        """
        started = time.monotonic()
        accepted: dict[int, Face] = {}
        pending: Sequence[int] = range(request.seed, request.seed + request.count)
        people = People(self, request) if request.identity else None
        tried, interrupted = 0, False
        try:
            for attempt in range(request.max_tries):
                for seeds in _batches(pending, batch_size):
                    faces = self.draw(request, seeds, attempt, people)
                    accepted |= {face.seed: face for face in faces if _is_better(face, accepted.get(face.seed))}
                    tried += len(seeds)
                    if progress is not None:
                        progress(len(accepted), request.count, tried)
                pending = [seed for seed in pending if seed not in accepted or attempt + 1 < request.best_of]
                if not pending:
                    break
        except KeyboardInterrupt:
            if not accepted:
                raise
            interrupted = True
        kept = tuple(accepted[seed] for seed in sorted(accepted))
        return FaceBatch(request, kept, tried, time.monotonic() - started, self.weights, interrupted)

    def draw_all(self, request: FaceRequest, *, batch_size: int = 32, people: People | None = None) -> FaceBatch:
        """The first draw of every face, accepted or not: what the prior makes before any selection.

        Args:
            people: of an earlier request that differs in its emotion only, so that ``identity`` need not find them again.
        """
        started = time.monotonic()
        people = people or (People(self, request) if request.identity else None)
        seeds = range(request.seed, request.seed + request.count)
        faces = tuple(face for part in _batches(seeds, batch_size) for face in self.draw(request, part, 0, people))
        return FaceBatch(request, faces, request.count, time.monotonic() - started, self.weights)

    def draw(
        self,
        request: FaceRequest,
        seeds: Sequence[int],
        attempt: int,
        people: People | None = None,
        emotions: Sequence[Sequence[float]] | None = None,
    ) -> list[Face]:
        """One face a seed, read and judged by the request, or by an emotion of its own.

        Args:
            attempt: another one gives other faces for the same seeds.
            people: who is drawn where ``request.identity`` is set; of the same request, so that each is found once.
        """
        emotions = [request.emotion] * len(seeds) if emotions is None else emotions
        known = (people or People(self, request)).tokens(seeds) if request.identity else None
        hidden = None if known is None else self.expression_mask()
        pixels = self.pixels(self.draw_tokens(request, emotions, seeds, attempt, known, hidden))
        found = zip(pixels.squeeze(1).cpu().numpy(), seeds, self.read(request, pixels, emotions), strict=True)
        return [Face(image, seed, attempt + 1, verdict) for image, seed, verdict in found]

    def draw_tokens(
        self,
        request: FaceRequest,
        emotions: Sequence[Sequence[float]],
        seeds: Sequence[int],
        attempt: int = 0,
        known: Tensor | None = None,
        hidden: Tensor | None = None,
        prefer: Tensor | None = None,
    ) -> Tensor:
        """Tokens (N, L, G) of N faces under the request's settings, each with its own emotion and seed.

        Args:
            known, hidden, prefer: as for :func:`vqvae.sampler.sample_tokens`.
        """
        device = self.encoder.device
        asked = torch.tensor(list(emotions), dtype=torch.float32, device=device)
        avoid = None if request.avoid is None else torch.tensor([request.avoid], device=device).expand(len(seeds), -1)
        with torch.autocast(device.type, torch.bfloat16, enabled=request.precision == "bf16"):
            return sample_tokens(
                self.prior,
                asked,
                torch.full((len(seeds),), SOURCES.index(request.source), device=device),
                # Hashed to 32 bits: torch's CPU generator ignores all bits above them.
                [int(hash64(seed, attempt)) >> 32 for seed in seeds],
                steps=request.steps,
                guidance=request.guidance,
                temperature=request.temperature,
                avoid=avoid,
                avoidance=request.avoidance,
                known=known,
                hidden=hidden,
                prefer=prefer,
                rerank=self._rerank(request, asked, avoid) if request.encoder_guidance else None,
            )

    def pixels(self, tokens: Tensor) -> Tensor:
        """The faces (N, 1, S, S) uint8 of tokens (N, L, G)."""
        return (self.tokenizer.decode(tokens) * 255.0).round().to(torch.uint8)

    def read(self, request: FaceRequest, faces: Any, emotions: Sequence[Sequence[float]]) -> list[Verdict]:
        """What the encoder says of faces as it takes them, against what was asked of each.

        By PyTorch: a face of the same seed is to be accepted, and recorded, alike wherever ONNX Runtime can be used or not.
        """
        rows = self.encoder.predict(faces, runtime="pytorch").distributions.tolist()
        return [judge(asked, row, request.threshold, request.avoid) for asked, row in zip(emotions, rows, strict=True)]

    def expression_mask(self) -> Tensor:
        """(L,) bool: the tokens of brows, eyes and mouth in an aligned face."""
        return token_mask(region_boxes(EXPRESSION), self.tokenizer.config.grid).to(self.encoder.device)

    def _rerank(self, request: FaceRequest, asked: Tensor, avoid: Tensor | None) -> Rerank:
        def score(tokens: Tensor) -> Tensor:
            faces = self.tokenizer.decode(tokens.flatten(0, 1))
            read = [self.encoder.log_distribution(self.encoder.forward_unit(part)) for part in faces.split(16)]
            log_read = torch.cat(read).view(*tokens.shape[:2], -1)
            return request.encoder_guidance * log_match(asked, log_read, avoid)

        return Rerank(score, request.candidates)


def _is_better(face: Face, other: Face | None) -> bool:
    return face.verdict.accepted and (other is None or face.verdict.match > other.verdict.match)


def _batches(seeds: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    if size < 1:
        raise UserError(f"batch_size must be at least 1, got {size}")
    return (seeds[start : start + size] for start in range(0, len(seeds), size))
