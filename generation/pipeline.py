"""The object people hold: weights in, verified faces out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor

from configs.cli import UserError
from configs.loader import validate
from encoder.emotions import EMOTION_NAMES, at_intensity, parse_distribution
from encoder.inference.emotion_encoder import EmotionEncoder
from engine.counter_random import hash64
from engine.devices import resolve_device
from engine.storage.weights import WEIGHTS_FILE, file_sha256, resolve_folder
from generation.faces import Face, FaceBatch
from generation.people import People
from generation.regions import EXPRESSION, region_boxes, token_mask
from generation.request import FaceRequest
from generation.verify import judge, log_match
from vqvae.faces import SOURCES
from vqvae.prior import MaskedPrior
from vqvae.sampler import Rerank, sample_tokens
from vqvae.tokenizer import Tokenizer

if TYPE_CHECKING:
    from generation.editing.face import EditedFace
    from generation.strip import FaceStrip

__all__ = ["PARTS", "Face", "FaceBatch", "FacePipeline"]

PARTS = ("encoder", "tokenizer", "prior")


def _noise_seed(seed: int, attempt: int) -> int:
    """Seed of one try of one face. Hashed to 32 bits: torch's CPU generator ignores all bits above them."""
    return int(hash64(seed, attempt)) >> 32


class FacePipeline:
    """Generates faces that show an emotion, and keeps those of which the encoder agrees.

    >>> pipe = FacePipeline.from_pretrained()
    >>> batch = pipe(emotion="fear", count=16, seed=0)
    >>> batch.images[0].save("fear.png"); batch.verdicts[0].match
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
        weights = {part: file_sha256(place / WEIGHTS_FILE) for part, place in places.items()}
        trained_on = prior.shape.tokenizer_sha256
        if trained_on and trained_on != tokenizer.encoding_sha256():
            raise UserError(f"{places['prior']}: was trained on tokens that {places['tokenizer']} does not make")
        return cls(reader, tokenizer, prior, weights)

    def to(self, device: torch.device | str) -> Self:
        """Move all parts to ``device`` (``auto``: CUDA where there is one); returns self."""
        place = resolve_device(str(device))
        self.encoder.to(place)
        self.tokenizer.to(place)
        self.prior.to(place)
        return self

    def __call__(
        self,
        emotion: str | Sequence[float] = "neutral",
        count: int = 16,
        seed: int = 0,
        *,
        intensity: float = 1.0,
        batch_size: int = 32,
        progress: Callable[[int, int, int], None] | None = None,
        **settings: Any,
    ) -> FaceBatch:
        """Generate ``count`` faces.

        Args:
            emotion: a name (``"fear"``, ``"peur"``), a compound (``"happily surprised"``), a mixture
                (``"fear:0.7,surprise:0.3"``) or seven probabilities.
            seed: face i uses ``seed + i`` and depends on nothing else, whatever ``count`` and ``batch_size``.
            intensity: 0 (neutral) to 1.
            batch_size: faces computed at once. progress: called with (accepted, asked, tried) after every batch.
            settings: see :class:`generation.request.FaceRequest`; ``avoid`` is written like ``emotion``.

        Returns:
            The accepted faces; fewer than asked (``complete`` is False) where ``max_tries`` ran out.

        Raises:
            UserError: a setting out of range.
        """
        request = self.request(emotion, count, seed, intensity=intensity, **settings)
        return self.generate(request, batch_size=batch_size, progress=progress)

    @staticmethod
    def request(
        emotion: str | Sequence[float],
        count: int,
        seed: int,
        *,
        intensity: float = 1.0,
        avoid: str | Sequence[float] | None = None,
        **settings: Any,
    ) -> FaceRequest:
        """A checked request; arguments as for calling the pipeline.

        Raises:
            UserError: a setting is unknown or out of range.
        """
        asked = {
            "emotion": at_intensity(_distribution(emotion), intensity),
            "count": count,
            "seed": seed,
            "avoid": None if avoid is None else _distribution(avoid),
            **settings,
        }
        return validate(FaceRequest, asked, "request")

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

        Give ``per_emotion`` or ``counts``; ``options`` and errors: see :func:`generation.dataset.ask` and ``make_dataset``.
        """
        from generation.dataset.__main__ import ask, make_dataset

        if (per_emotion is None) == (counts is None):
            raise UserError("dataset: give either per_emotion or counts")
        given = {"per_emotion": per_emotion, "counts": counts, **options}
        call = ", ".join([repr(str(out)), *(f"{name}={value!r}" for name, value in given.items() if value is not None)])
        request = ask(counts or dict.fromkeys(EMOTION_NAMES, per_emotion or 0), **options)
        return make_dataset(self, request, Path(out), command=f"FacePipeline.dataset({call})")

    def draw_all(self, request: FaceRequest, *, batch_size: int = 32, people: People | None = None) -> FaceBatch:
        """The first draw of every face, accepted or not: what the prior makes before any selection.

        Args:
            people: of an earlier request that differs in its emotion only, so that ``identity`` need not find them again.
        """
        started = time.monotonic()
        faces: list[Face] = []
        people = people or People(self, request)
        for start in range(0, request.count, batch_size):
            chunk = range(start, min(start + batch_size, request.count))
            faces += self._draw(request, chunk, 0, people)
        return FaceBatch(request, tuple(faces), request.count, time.monotonic() - started, self.weights)

    def generate(
        self, request: FaceRequest, *, batch_size: int = 32, progress: Callable[[int, int, int], None] | None = None
    ) -> FaceBatch:
        """As calling the pipeline, for a checked request. Ctrl-C ends early with what is accepted by then.

        Raises:
            UserError: ``batch_size`` below 1.
        """
        if batch_size < 1:
            raise UserError(f"batch_size must be at least 1, got {batch_size}")
        started = time.monotonic()
        accepted: dict[int, Face] = {}
        pending = list(range(request.count))
        people = People(self, request)
        tried, interrupted = 0, False
        try:
            for attempt in range(request.max_tries):
                again: list[int] = []
                for start in range(0, len(pending), batch_size):
                    chunk = pending[start : start + batch_size]
                    for index, face in zip(chunk, self._draw(request, chunk, attempt, people), strict=True):
                        if face.better_than(accepted.get(index)):
                            accepted[index] = face
                        if index not in accepted or attempt + 1 < request.best_of:
                            again.append(index)
                    tried += len(chunk)
                    if progress is not None:
                        progress(len(accepted), request.count, tried)
                pending = again
                if not pending:
                    break
        except KeyboardInterrupt:
            if not accepted:
                raise
            interrupted = True
        faces = tuple(accepted[index] for index in sorted(accepted))
        return FaceBatch(request, faces, tried, time.monotonic() - started, self.weights, interrupted)

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
            attempt: another one gives other faces for the same seeds.
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
                [_noise_seed(seed, attempt) for seed in seeds],
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

    def _draw(self, request: FaceRequest, indices: Sequence[int], attempt: int, people: People) -> list[Face]:
        seeds = [request.seed + index for index in indices]
        known, hidden = (people.tokens(seeds), self.expression_mask()) if request.identity else (None, None)
        tokens = self.draw_tokens(request, [request.emotion] * len(seeds), seeds, attempt, known, hidden)
        pixels = self.pixels(tokens)
        read = self.encoder.predict(pixels).distributions.tolist()
        images = pixels.squeeze(1).cpu().numpy()
        verdicts = [judge(request.emotion, row, request.threshold, request.avoid) for row in read]
        return [Face(image, seed, attempt + 1, verdict) for image, seed, verdict in zip(images, seeds, verdicts, strict=True)]


def _distribution(emotion: str | Sequence[float]) -> tuple[float, ...]:
    return parse_distribution(emotion) if isinstance(emotion, str) else tuple(float(p) for p in emotion)
