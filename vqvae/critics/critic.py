"""A network that says of a painted face whether people would believe it.

Verification by emotion alone accepts blots that an encoder takes for sadness. A critic sees what is left: eyes that do not
match, mouths without teeth, no face at all. It learned either to tell real faces from made ones, both painted from tokens, so
that it judges what the prior chose and not what the decoder cannot paint; or from what somebody said of made faces.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from configs.cli import UserError
from configs.loader import StrictModel, validate
from encoder.attributes.probe import FaceFeatures, Features
from encoder.inference.emotion_encoder import KIND as ENCODER
from encoder.inference.emotion_encoder import EmotionEncoder
from engine.storage.weights import load_network, read_config, save_weights

KIND = "critic"
# What a critic of name "maps" reads of a face.
READ: Features = "bands"
# Real faces are ranked against so many evenly spaced ones of the valid split.
RANKS = 101


class CriticConfig(StrictModel):
    """Architecture. ``strided`` halves with convolutions, ``pooled`` with max pooling and other activations: two critics of one
    architecture would share their blind spots. ``maps`` weighs what an emotion encoder sees, and has no layers of its own.

    Attributes:
        reader: ``maps``: the folder of that encoder, beside the critic's. reader_sha256: of its weights. width: numbers it gives.
    """

    name: Literal["strided", "pooled", "maps"] = "strided"
    channels: Literal[1, 3] = 3
    widths: tuple[int, ...] = Field((24, 48, 96, 128), min_length=2, max_length=6)
    reader: Literal["", "encoder", "judge"] = ""
    reader_sha256: str = ""
    width: int = Field(0, ge=0, le=1 << 16)


class CriticScale(StrictModel):
    """Logits of real faces of the valid split, from the lowest to the highest, evenly spaced in rank."""

    real: tuple[float, ...] = ()


class RealismCritic(nn.Module):
    """(N, C, P, P) painted faces in [0, 1] to (N,) logits, above 0: real.

    Attributes:
        scale: what :meth:`realism` ranks against; empty before it is measured.
        tokens: SHA-256 of the weights whose faces it was trained on, by name.
    """

    def __init__(self, config: CriticConfig, reader: EmotionEncoder | None = None) -> None:
        """``reader``: of ``maps``, whose weights it neither trains nor stores; None only to see the shape of its own."""
        super().__init__()
        self.config, self.scale, self.tokens = config, CriticScale(), dict[str, str]()
        # No part of it: in a tuple, so that it is not found among its modules.
        self._reader: tuple[FaceFeatures, ...] = () if reader is None else (FaceFeatures(reader),)
        if config.name == "maps":
            self.head = nn.Linear(config.width, 1)
            return
        layers: list[nn.Module] = []
        inputs: int = config.channels
        for width in config.widths:
            layers += _strided(inputs, width) if config.name == "strided" else _pooled(inputs, width)
            inputs = width
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(2 * inputs, 1)

    def forward(self, faces: Tensor) -> Tensor:
        if self.config.name == "maps":
            reader = self._reader[0]
            reader.encoder.to(faces.device)
            return self.head(reader.read(faces, (READ,))[READ].to(faces.device)).squeeze(1)
        maps = self.body(2.0 * faces - 1.0)
        # The worst place counts by itself: one eye that is wrong is lost in a mean.
        pooled = torch.cat([maps.mean(dim=(2, 3)), maps.amax(dim=(2, 3))], dim=1)
        return self.head(pooled.float()).squeeze(1)

    def realism(self, faces: Tensor, batch_size: int = 64) -> NDArray[np.float32]:
        """(N,) share of real faces that look less real than each of ``faces``, in [0, 1]: 0.5 is as real as the median.

        Raises ValueError: the critic was not measured on real faces.
        """
        if not self.scale.real:
            raise ValueError("this critic has no scale: it was not measured on real faces")
        ranks = np.linspace(0.0, 1.0, len(self.scale.real))
        return np.interp(self.logits(faces, batch_size), self.scale.real, ranks).astype(np.float32)

    @torch.inference_mode()
    def logits(self, faces: Tensor, batch_size: int = 64) -> NDArray[np.float32]:
        """(N,) what :meth:`forward` says of ``faces``, part by part."""
        said = torch.cat([self(part) for part in faces.split(batch_size)]) if len(faces) else torch.zeros(0)
        return said.float().cpu().numpy()

    def measure(self, real_logits: NDArray[np.floating]) -> None:
        """Take the scale from (N,) logits of real faces that it was not trained on."""
        steps = np.quantile(np.asarray(real_logits, np.float64), np.linspace(0.0, 1.0, RANKS))
        self.scale = CriticScale(real=tuple(round(float(value), 4) for value in steps))

    @classmethod
    def from_pretrained(cls, folder: str | Path, *, reader: EmotionEncoder | None = None) -> Self:
        """Load strictly from ``folder``, for inference.

        Args:
            reader: the encoder in the folder ``encoder`` beside it, where it is loaded already.

        Raises:
            UserError: see :func:`engine.storage.weights.load_network`; or the encoder beside it is not the one it was fitted on.
        """
        stored = read_config(folder, KIND)
        place = f"{folder}/config.json"
        config = validate(CriticConfig, stored["model"], place)
        if config.name == "maps":
            reader = _reader_of(config, Path(folder), reader)
        critic = load_network(folder, stored, lambda: cls(config, reader))
        critic.scale = validate(CriticScale, stored.get("calibration", {}), place)
        critic.tokens = {str(name): str(value) for name, value in stored.get("data", {}).get("weights", {}).items()}
        return critic.eval().requires_grad_(False)

    def save_pretrained(self, folder: str | Path, *, data: dict[str, Any] | None = None, **notes: Any) -> None:
        """Write weights in half precision with configuration and scale."""
        stored = {"kind": KIND, "model": self.config.model_dump(mode="json"), "calibration": self.scale.model_dump(mode="json")}
        # In half precision the folded standardisation of thousands of numbers would be rounded away.
        half = self.config.name != "maps"
        save_weights(folder, self.state_dict(), {**stored, "data": {**(data or {}), "weights": self.tokens}, **notes}, half=half)


def _reader_of(config: CriticConfig, folder: Path, loaded: EmotionEncoder | None) -> EmotionEncoder:
    """The encoder that a critic in ``folder`` weighs."""
    place = folder.parent / (config.reader or "encoder")
    if read_config(place, ENCODER)["sha256"] != config.reader_sha256:
        raise UserError(f"{folder}: was fitted on another encoder than {place}; fit it again: python -m vqvae.critics")
    reader = loaded if loaded is not None and config.reader == "encoder" else EmotionEncoder.from_pretrained(place)
    size = reader.preprocessing.size
    width = FaceFeatures(reader).read(torch.zeros(1, 1, size, size), (READ,))[READ].shape[1]
    if width != config.width:
        raise UserError(f"{folder}/config.json: width {config.width}, but {place} gives {width}; fit it again")
    return reader


class _Refine(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.conv = nn.GroupNorm(8, width), nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.conv.weight)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(F.silu(self.norm(x)))


def _strided(inputs: int, width: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, width, 4, 2, 1), nn.LeakyReLU(0.2), _Refine(width)]


def _pooled(inputs: int, width: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, width, 3, padding=1), nn.GroupNorm(4, width), nn.ELU(), nn.MaxPool2d(2)]


def separation(real: NDArray[np.floating], made: NDArray[np.floating]) -> float:
    """Area under the ROC curve: how often a real face has the higher of two scores; 0.5: they cannot be told apart."""
    scores = np.concatenate([real, made])
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    # Equal scores share the mean of their ranks (Mann-Whitney).
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]
    above = ranks[: len(real)].sum() - len(real) * (len(real) + 1) / 2
    return float(above / (len(real) * len(made)))
