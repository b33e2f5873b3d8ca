"""What a face shows beside its emotion, read by a linear probe on the maps of the emotion encoder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from configs.cli import UserError
from configs.loader import StrictModel, validate
from encoder.attributes.labels import ATTRIBUTES
from encoder.inference.emotion_encoder import KIND as ENCODER_KIND
from encoder.inference.emotion_encoder import EmotionEncoder
from encoder.inference.folded import FoldedCopy
from encoder.inference.preprocessing import normalise, resize, to_grey
from encoder.models.emotion_net import EncoderOutput
from engine.progress import in_chunks
from engine.storage.weights import load_network, read_config, resolve_folder, save_weights

KIND = "attributes"
SHIPPED = "pretrained/attributes"
SHIPPED_ENCODER = "pretrained/encoder"


def _stages(output: EncoderOutput) -> Tensor:
    """Mean and deviation over the positions of every channel of every stage: early ones still know of letters and lines."""
    means = [maps.mean(dim=(2, 3)) for maps in output.maps]
    deviations = [maps.std(dim=(2, 3)) for maps in output.maps]
    return torch.cat([*means, *deviations], dim=1).float()


def _bands(output: EncoderOutput) -> Tensor:
    """As ``stages``, of brow, middle and mouth of the face apart."""
    rows = [maps.tensor_split(3, dim=2) for maps in output.maps]
    return torch.cat([_stages(output._replace(maps=band)) for band in zip(*rows, strict=True)], dim=1)


Features = Literal["embedding", "stages", "bands"]
FEATURES: Mapping[Features, Callable[[EncoderOutput], Tensor]] = {
    "embedding": lambda output: output.embedding,
    "stages": _stages,
    "bands": _bands,
}


class ProbeConfig(StrictModel):
    """What the probe reads, of which encoder.

    Attributes:
        features: a name of ``FEATURES``.
        width: number of features.
        encoder_sha256: of the weights file of the encoder that the probe was fitted on.
    """

    features: Features
    width: int = Field(ge=1, le=1 << 16)
    attributes: tuple[str, ...]
    encoder_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class ProbeCalibration(StrictModel):
    """The probability from which an attribute counts as shown, one for each attribute."""

    thresholds: dict[str, float]


class Linear(nn.Module):
    """(N, D) features to (N, A) logits; standardisation and calibration are folded in."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(len(ATTRIBUTES), width))
        self.register_buffer("bias", torch.zeros(len(ATTRIBUTES)))
        self.weight: Tensor
        self.bias: Tensor

    def forward(self, features: Tensor) -> Tensor:
        return nn.functional.linear(features, self.weight, self.bias)


class FaceFeatures:
    """What an encoder sees in a face, the mean over the face and its mirror image."""

    def __init__(self, encoder: EmotionEncoder) -> None:
        self.encoder = encoder
        self._folded = FoldedCopy()

    @torch.inference_mode()
    def read(self, faces: Any, names: Sequence[Features]) -> dict[Features, Tensor]:
        """(N, D) float32 on the CPU for each of ``names``, keys of ``FEATURES``.

        Args:
            faces: at least one, see :func:`encoder.inference.preprocessing.to_grey`.

        Raises:
            UserError: faces of another shape, type or range.
        """
        net, preprocessing = self._folded.of(self.encoder.net), self.encoder.preprocessing
        read: dict[Features, list[Tensor]] = {name: [] for name in names}
        for chunk in in_chunks(to_grey(faces), self.encoder.preferred_batch, "reading attributes"):
            unit = normalise(resize(chunk.to(self.encoder.device), preprocessing.size), preprocessing)
            straight, mirrored = net(unit), net(unit.flip(-1))
            for name, parts in read.items():
                parts.append((0.5 * (FEATURES[name](straight) + FEATURES[name](mirrored))).cpu())
        return {name: torch.cat(parts) for name, parts in read.items()}


class FaceAttributes:
    """Probabilities that a face shows each of :data:`encoder.attributes.labels.ATTRIBUTES`.

    ``object``: a hand or an object touches or hides the face; ``text``: watermark or letters; ``unreal``: drawing, mask,
    statue or no face; ``closed``: no open eye; ``blurred``: strongly.
    """

    def __init__(self, encoder: EmotionEncoder, probe: Linear, config: ProbeConfig, calibration: ProbeCalibration) -> None:
        self.probe, self.config, self.calibration = probe.eval(), config, calibration
        self._features = FaceFeatures(encoder)

    @classmethod
    def from_pretrained(
        cls, folder: str | Path = SHIPPED, encoder: str | Path = SHIPPED_ENCODER, *, reader: EmotionEncoder | None = None
    ) -> Self:
        """Load strictly from ``folder``, with the encoder it was fitted on; nothing is fetched.

        Args:
            reader: the encoder of the folder ``encoder``, where it is loaded already.

        Raises:
            UserError: anything missing, unknown or damaged, or another encoder.
        """
        place, encoder_place = resolve_folder(str(folder)), resolve_folder(str(encoder))
        stored, where = read_config(place, KIND), f"{place}/config.json"
        config = validate(ProbeConfig, stored["model"], where)
        calibration = validate(ProbeCalibration, stored.get("calibration", {}), where)
        if config.attributes != ATTRIBUTES or set(calibration.thresholds) != set(ATTRIBUTES):
            raise UserError(f"{where}: attributes and thresholds must be those of {', '.join(ATTRIBUTES)}; fit the probe again")
        if config.encoder_sha256 != read_config(encoder_place, ENCODER_KIND)["sha256"]:
            raise UserError(
                f"{place}: fitted on another encoder than {encoder_place}; fit it again: "
                f"python -m encoder.attributes --weights {encoder_place} --data DATA --out FOLDER"
            )
        probe = load_network(place, stored, lambda: Linear(config.width))
        reader = reader or EmotionEncoder.from_pretrained(encoder_place)
        size = reader.preprocessing.size
        width = FaceFeatures(reader).read(np.zeros((1, size, size), np.uint8), (config.features,))[config.features].shape[1]
        if width != config.width:
            raise UserError(f"{where}: {config.width} features, but {encoder_place} gives {width}; fit the probe again")
        return cls(reader, probe, config, calibration)

    def save_pretrained(self, folder: str | Path, **notes: Any) -> None:
        """Write the probe with everything needed to load it; ``notes`` go into ``config.json``."""
        model, calibration = self.config.model_dump(mode="json"), self.calibration.model_dump(mode="json")
        # In half precision the folded standardisation of thousands of features would be rounded away.
        described = {"kind": KIND, "model": model, "calibration": calibration, **notes}
        save_weights(folder, self.probe.state_dict(), described, half=False)

    def to(self, device: torch.device | str) -> Self:
        """Move the encoder to ``device``; returns self."""
        self._features.encoder.to(device)
        return self

    @property
    def thresholds(self) -> NDArray[np.float32]:
        """(5,) probabilities from which an attribute counts as shown, in the order of ``ATTRIBUTES``."""
        return np.array([self.calibration.thresholds[name] for name in ATTRIBUTES], np.float32)

    def predict(self, faces: Any) -> NDArray[np.float32]:
        """(N, 5) float32 probabilities in the order of ``ATTRIBUTES``; a face and its mirror image get the same.

        Args:
            faces: tightly cropped, see :func:`encoder.inference.preprocessing.to_grey`: uint8 or [0, 1] floats, grey or RGB.

        Raises:
            UserError: faces of another shape, type or range.
        """
        grey = to_grey(faces)
        if not len(grey):
            return np.zeros((0, len(ATTRIBUTES)), np.float32)
        name = self.config.features
        with torch.inference_mode():
            return torch.sigmoid(self.probe(self._features.read(grey, (name,))[name])).numpy()

    def shown(self, faces: Any) -> NDArray[np.bool_]:
        """(N, 5) whether each attribute counts as shown; faces as in :meth:`predict`."""
        return self.predict(faces) >= self.thresholds
