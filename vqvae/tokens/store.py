"""All that the prior learns from, made before its training: tokens, what is told of each face, and its look."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from encoder.emotions import NUM_EMOTIONS
from encoder.inference.emotion_encoder import EmotionEncoder
from vqvae.attributes import AttributeName
from vqvae.faces import Faces, TrainingFaces
from vqvae.tokenizer import Tokenizer
from vqvae.tokens.cache import Shapes, Write, array_sha256, cached, mapped

if TYPE_CHECKING:
    from accelerate import Accelerator

# Faces that are turned into tokens at a time.
_PIECE = 2048
_ARRAYS = ("tokens", "labels", "sources", "attributes")


@dataclass(frozen=True)
class TokenStore:
    """Faces of one split as the prior sees them.

    Attributes:
        tokens: (2, N, L, G) int16 or int32, of the faces and of their mirror images.
        labels: (N, 7) float32 distributions over emotions; zeros where nothing is known.
        sources: (N,) int8, an index into :data:`vqvae.faces.SOURCES`.
        folder: where the arrays are mapped from; None: they are in memory.
        attributes: (N, A) int8 classes of those attributes that the prior is told, or ``NOT_TOLD``; no columns if not given.
    """

    tokens: NDArray
    labels: NDArray
    sources: NDArray
    folder: Path | None = None
    attributes: NDArray = field(default_factory=lambda: np.zeros((0, 0), np.int8))
    remote = False

    def __post_init__(self) -> None:
        if not self.attributes.size:
            object.__setattr__(self, "attributes", np.zeros((len(self.labels), 0), np.int8))

    def __len__(self) -> int:
        return len(self.labels)

    @classmethod
    def open(cls, folder: Path) -> Self:
        """The store that :func:`make_token_store` left in ``folder``."""
        return cls(**mapped(folder, tuple(name for name in _ARRAYS if (folder / f"{name}.npy").is_file())), folder=folder)

    def __reduce__(self) -> Any:
        # Another process is sent the place of the files, and not what may be more than memory holds.
        if self.folder is None:
            return TokenStore, (self.tokens, self.labels, self.sources, None, self.attributes)
        return TokenStore.open, (self.folder,)


def make_token_store(
    faces: Faces,
    tokenizer: Tokenizer,
    encoder: EmotionEncoder | None,
    votes_weight: float,
    accelerator: Accelerator,
    folder: Path | None = None,
    split: str = "train",
    attributes: Sequence[AttributeName] = (),
) -> TokenStore:
    """Read all ``faces`` into tokens and labels, or take up what is in ``folder`` if that was made from the same.

    Several processes share the work, and must share the folder. ``attributes`` are what is kept of those that are known.

    Raises:
        UserError: the folder cannot be written.
    """
    config = tokenizer.config
    width = config.grid**2 * config.groups

    def fill(first: int, last: int, write: Write) -> None:
        if accelerator.is_main_process:
            print(f"prior: reading {len(faces)} faces of {split} into tokens and labels", file=sys.stderr)
        for start in range(first, last, _PIECE):
            piece = faces.part(np.arange(start, min(start + _PIECE, last)))
            write("sources", start, piece.sources)
            if attributes:
                write("attributes", start * len(attributes), piece.told(attributes))
            write("labels", start * NUM_EMOTIONS, condition_labels(piece, encoder, votes_weight))
            for mirrored, tokens in enumerate(tokenise(tokenizer, piece.images).numpy()):
                write("tokens", (mirrored * len(faces) + start) * width, tokens)

    made_from = {
        "tokenizer": tokenizer.encoding_sha256(),
        "encoder": _fingerprint(encoder),
        "faces": faces.digest(),
        "votes_weight": str(votes_weight),
        **({"attributes": ",".join(attributes)} if attributes else {}),
    }
    shapes: Shapes = {
        "tokens": ("int16" if config.codebook_size <= 1 << 15 else "int32", (2, len(faces), config.grid**2, config.groups)),
        "labels": ("float32", (len(faces), NUM_EMOTIONS)),
        "sources": ("int8", (len(faces),)),
        **({"attributes": ("int8", (len(faces), len(attributes)))} if attributes else {}),
    }
    return TokenStore(**cached(folder, made_from, shapes, len(faces), fill, accelerator), folder=folder)


@torch.inference_mode()
def tokenise(tokenizer: Tokenizer, images: np.ndarray, batch_size: int = 256) -> Tensor:
    """Tokens of uint8 images (N, S, S) and of their mirror images: (2, N, L, G) int32."""
    from tqdm import tqdm

    device = next(tokenizer.parameters()).device
    rows: list[Tensor] = []
    chunks = torch.from_numpy(images).unsqueeze(1).split(batch_size)
    for chunk in tqdm(chunks, desc="tokens", unit="batch", disable=None, leave=False):
        faces = chunk.to(device).float().div_(255.0)
        both = tokenizer.encode(torch.cat([faces, faces.flip(-1)]))
        rows.append(both.view(2, len(chunk), *both.shape[1:]).to(torch.int32).cpu())
    return torch.cat(rows, dim=1)


def condition_labels(faces: TrainingFaces, encoder: EmotionEncoder | None, votes_weight: float) -> np.ndarray:
    """(N, 7) distribution that the prior is told: people's votes mixed with the encoder's reading.

    Votes alone are coarse (ten people) and absent for some faces; the encoder alone would teach its own mistakes.
    """
    if encoder is None:
        return faces.labels
    from tqdm import tqdm

    readings = []
    pieces = np.array_split(faces.images, max(1, len(faces) // 2048))
    for piece in tqdm(pieces, desc="labels", unit="batch", disable=None, leave=False):
        readings.append(encoder.predict(piece, runtime="pytorch").distributions.numpy())
    reading = np.concatenate(readings)
    share = votes_weight * (faces.labels.sum(axis=1, keepdims=True) > 0)
    return (share * faces.labels + (1.0 - share) * reading).astype(np.float32)


def _fingerprint(encoder: EmotionEncoder | None) -> str:
    """What an encoder's answers depend on: its weights and its calibration."""
    if encoder is None:
        return "none"
    weights = array_sha256(*(tensor.detach().float().cpu().numpy() for tensor in encoder.net.state_dict().values()))
    return f"{weights} {encoder.calibration.model_dump_json()}"
