"""What the table is about: first draws and verified faces of each emotion, and real faces in the same look."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from encoder.emotions import EMOTION_NAMES
from eval.faces.look import as_real_ones

if TYPE_CHECKING:
    from encoder.inference.emotion_encoder import EmotionEncoder, Prediction
    from generation.faces import Face
    from generation.pipeline import FacePipeline
    from generation.request import FaceRequest
    from vqvae.colour.photographs import Photographs

_AT_ONCE = 32


@dataclass(frozen=True)
class MadeFaces:
    """Generated faces of one kind, per emotion; ``side`` is that at which they are compared with real ones."""

    faces: tuple[tuple[Face, ...], ...]
    side: int

    def __len__(self) -> int:
        return sum(map(len, self.faces))

    @property
    def all(self) -> tuple[Face, ...]:
        """The faces of all emotions, one after the other."""
        return tuple(chain.from_iterable(self.faces))

    @cached_property
    def grey(self) -> tuple[NDArray[np.uint8], ...]:
        """(N, S, S) per emotion, as real faces are measured."""
        return tuple(as_real_ones((face.image for face in faces), self.side) for faces in self.faces)

    def planes(self) -> NDArray[np.uint8]:
        """(N, C, H, W) of all emotions, as they are delivered; there must be one."""
        return planes(np.stack([face.image for face in self.all]))

    def read(self, reader: EmotionEncoder) -> list[Prediction]:
        """What a reader sees in the faces of each emotion."""
        return [reader.predict(faces) for faces in self.grey]


@dataclass(frozen=True)
class Drawn:
    """Both kinds of faces, what was asked, and what the verified ones took: per emotion draws, and refused ones by cause."""

    first: MadeFaces
    verified: MadeFaces
    request: FaceRequest
    tried: tuple[int, ...]
    refused: tuple[Mapping[str, int], ...]

    def kinds(self) -> dict[str, MadeFaces]:
        return {"first": self.first, "verified": self.verified}


def draw_faces(pipe: FacePipeline, count: int, seed: int, settings: Mapping[str, Any]) -> Drawn:
    """``count`` first draws, none refused, and as many verified faces of each emotion.

    Each face has a seed of its own: who it shows is drawn from its seed, and a person who came seven times would count once.

    Raises:
        KeyboardInterrupt: also where verified faces were there already: figures of a part of them would be kept as whole.
    """
    first, verified, tried, refused = [], [], [], []
    bar = tqdm(total=2 * count * len(EMOTION_NAMES), desc="drawing", unit="face", leave=False, disable=None)
    with bar:
        for number, name in enumerate(EMOTION_NAMES):
            request = pipe.request(name, count, seed + number * count, **settings)
            # Vetoes off: nobody is asked who could refuse.
            free = pipe.settled(request.model_copy(update={"realism": 0.0, "landmarks": "off", "as_told": "off"}))
            faces: list[Face] = []
            for start in range(0, count, _AT_ONCE):
                seeds = range(request.seed + start, request.seed + min(start + _AT_ONCE, count))
                faces += pipe.draw(free, seeds, 0)
                bar.update(len(seeds))
            before = bar.n
            batch = pipe.generate(
                request, batch_size=_AT_ONCE, progress=lambda had, *_, base=before: bar.update(base + had - bar.n)
            )
            if batch.interrupted:
                raise KeyboardInterrupt
            bar.update(before + count - bar.n)
            first.append(tuple(faces))
            verified.append(batch.faces)
            tried.append(batch.tried)
            refused.append({str(cause): times for cause, times in batch.refused.items()})
    side = pipe.tokenizer.config.size
    return Drawn(MadeFaces(tuple(first), side), MadeFaces(tuple(verified), side), batch.request, tuple(tried), tuple(refused))


def planes(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(N, H, W) or (N, H, W, 3) images as (N, C, H, W)."""
    return images[:, None] if images.ndim == 3 else np.ascontiguousarray(images.transpose(0, 3, 1, 2))


@dataclass(frozen=True)
class RealLook:
    """Real faces that generated ones are to be taken for.

    Attributes:
        seen: (N, S, S) as the tokenizer's encoder sees them.
        photographs: the same faces in colour; None: they are grey, and there is no more of them than ``seen``.
    """

    seen: NDArray[np.uint8]
    photographs: Photographs | None = None

    def as_they_are(self, rows: NDArray[np.intp]) -> NDArray[np.uint8]:
        """(N, C, H, W): colour photographs, or grey faces of the encoder's size."""
        return planes(self.seen[rows] if self.photographs is None else self.photographs.images_at(rows))

    def painted(self, rows: NDArray[np.intp], pipe: FacePipeline, request: FaceRequest) -> NDArray[np.uint8]:
        """(N, C, H, W): what the generator paints of the faces' own tokens, in the look of the request."""
        made = []
        bar = tqdm(total=len(rows), desc="painting real faces", unit="face", leave=False, disable=None)
        with bar:
            for part in np.array_split(rows, max(1, len(rows) // _AT_ONCE)):
                faces = torch.from_numpy(self.seen[part]).unsqueeze(1).to(pipe.encoder.device).float() / 255.0
                painted = pipe.pixels(pipe.tokenizer.encode(faces))
                made.append(pipe.shown(request, painted, part.tolist()))
                bar.update(len(part))
        return planes(np.concatenate(made))
