"""The object people hold: weights in, verified faces out."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from configs.cli import UserError
from configs.loader import validate
from encoder.classifier import EmotionEncoder
from encoder.counter_random import hash64
from encoder.devices import resolve_device
from encoder.emotions import at_intensity, parse_distribution
from encoder.evaluate import resolve_folder
from encoder.weights import WEIGHTS_FILE, file_sha256
from generation.request import FaceRequest
from generation.verify import Verdict, judge
from vqvae.faces import SOURCES
from vqvae.prior import MaskedPrior
from vqvae.sampler import sample_tokens
from vqvae.tokenizer import Tokenizer

PARTS = ("encoder", "tokenizer", "prior")


def _noise_seed(seed: int, attempt: int) -> int:
    """Seed of one try of one face. Hashed to 32 bits: torch's CPU generator ignores all bits above them."""
    return int(hash64(seed, attempt)) >> 32


@dataclass(frozen=True)
class Face:
    """One generated face.

    Attributes:
        image: (S, S) uint8 grey.
        seed: of the request plus the face's index. ``tries``: draws it took.
        verdict: the encoder's reading of exactly these pixels.
    """

    image: np.ndarray
    seed: int
    tries: int
    verdict: Verdict


@dataclass(frozen=True)
class FaceBatch:
    """The answer to a request: accepted faces in the order of their seeds, and what it took."""

    request: FaceRequest
    faces: tuple[Face, ...]
    tried: int
    seconds: float
    weights: dict[str, str] = field(default_factory=dict)

    @property
    def images(self) -> list[Any]:
        """The accepted faces as PIL images (mode ``L``)."""
        from PIL import Image

        return [Image.fromarray(face.image) for face in self.faces]

    @property
    def verdicts(self) -> list[Verdict]:
        """The encoder's readings, in the order of ``images``."""
        return [face.verdict for face in self.faces]

    @property
    def complete(self) -> bool:
        """Whether every face that was asked for was accepted."""
        return len(self.faces) == self.request.count


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
            UserError: a part is missing or refused, or the prior was trained on another tokenizer.
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
        if trained_on and trained_on != weights["tokenizer"]:
            raise UserError(f"{places['prior']}: was trained on another tokenizer than {places['tokenizer']}")
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
            emotion: a name (``"fear"``, ``"peur"``), a mixture (``"fear:0.7,surprise:0.3"``) or seven probabilities.
            seed: face i uses ``seed + i`` and depends on nothing else, whatever ``count`` and ``batch_size``.
            intensity: 0 (neutral) to 1.
            batch_size: faces computed at once.
            progress: called with (accepted, asked, tried) after every batch.
            settings: see :class:`generation.request.FaceRequest`.

        Returns:
            The accepted faces; fewer than asked (``complete`` is False) where ``max_tries`` ran out.

        Raises:
            UserError: a setting out of range.
        """
        request = self.request(emotion, count, seed, intensity=intensity, **settings)
        return self.generate(request, batch_size=batch_size, progress=progress)

    @staticmethod
    def request(emotion: str | Sequence[float], count: int, seed: int, *, intensity: float = 1.0, **settings: Any) -> FaceRequest:
        """A checked request; arguments as for calling the pipeline.

        Raises:
            UserError: a setting is unknown or out of range.
        """
        distribution = parse_distribution(emotion) if isinstance(emotion, str) else tuple(float(p) for p in emotion)
        asked = {"emotion": at_intensity(distribution, intensity), "count": count, "seed": seed, **settings}
        return validate(FaceRequest, asked, "request")

    def draw_all(self, request: FaceRequest, *, batch_size: int = 32) -> FaceBatch:
        """The first draw of every face, accepted or not: what the prior makes before any selection."""
        started = time.monotonic()
        faces: list[Face] = []
        for start in range(0, request.count, batch_size):
            faces += self._draw(request, range(start, min(start + batch_size, request.count)), 0)
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
        tried = 0
        try:
            for attempt in range(request.max_tries):
                refused: list[int] = []
                for start in range(0, len(pending), batch_size):
                    chunk = pending[start : start + batch_size]
                    for index, face in zip(chunk, self._draw(request, chunk, attempt), strict=True):
                        if face.verdict.accepted:
                            accepted[index] = face
                        else:
                            refused.append(index)
                    tried += len(chunk)
                    if progress is not None:
                        progress(len(accepted), request.count, tried)
                pending = refused
                if not pending:
                    break
        except KeyboardInterrupt:
            if not accepted:
                raise
        faces = tuple(accepted[index] for index in sorted(accepted))
        return FaceBatch(request, faces, tried, time.monotonic() - started, self.weights)

    def _draw(self, request: FaceRequest, indices: Sequence[int], attempt: int) -> list[Face]:
        device = self.encoder.device
        emotion = torch.tensor([request.emotion], device=device).expand(len(indices), -1)
        source = torch.full((len(indices),), SOURCES.index(request.source), device=device)
        seeds = [request.seed + index for index in indices]
        tokens = sample_tokens(
            self.prior,
            emotion,
            source,
            [_noise_seed(seed, attempt) for seed in seeds],
            steps=request.steps,
            guidance=request.guidance,
            temperature=request.temperature,
        )
        pixels = (self.tokenizer.decode(tokens) * 255.0).round().to(torch.uint8)
        read = self.encoder.predict(pixels).distributions.tolist()
        images = pixels.squeeze(1).cpu().numpy()
        verdicts = [judge(request.emotion, row, request.threshold) for row in read]
        return [Face(image, seed, attempt + 1, verdict) for image, seed, verdict in zip(images, seeds, verdicts, strict=True)]
