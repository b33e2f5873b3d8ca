"""Attributes of a face: gender as data sets record it, off unless asked for. See docs/responsible/gender_and_identity.md.

``female`` and ``male`` are labels that people gave to photographs, from name and appearance (Afifi & Abdelhamed, 2017).
They are not anybody's gender identity, which no picture shows.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from configs.cli import UserError
from encoder.config import CropConfig
from encoder.inference.preprocessing import normalise, resize, to_grey
from encoder.inference.stored_network import StoredNetwork
from encoder.models.deepface_client import deepface_input, in_batches, load_deepface
from encoder.people.gender_config import GenderCalibration, GenderModelConfig
from engine.progress import in_chunks

GENDERS = ("female", "male")
SHIPPED = "pretrained/gender"


class GenderModel(Protocol):
    """What :func:`create_gender` returns."""

    @property
    def crop(self) -> CropConfig | None:
        """How its faces are cut out; see :func:`encoder.detection.align.crop_face`."""

    def predict(self, faces: Any) -> NDArray[np.float32]:
        """(N, 2) float32 probabilities in the order of ``GENDERS``; faces as in :meth:`GenderClassifier.predict`."""


class GenderNet(nn.Module):
    """Two 3x3 convolutions a stage, the first of all with stride 2, max pooling between stages, one linear layer."""

    def __init__(self, config: GenderModelConfig) -> None:
        super().__init__()
        self.config = config
        layers: list[nn.Module] = []
        inputs = 1
        for stage, width in enumerate(config.widths):
            if stage:
                layers.append(nn.MaxPool2d(2))
            for stride in (2 if stage == 0 else 1, 1):
                layers += [nn.Conv2d(inputs, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
                inputs = width
        self.features = nn.Sequential(*layers)
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(inputs, 2)

    def forward(self, faces: Tensor) -> Tensor:
        """(N, 1, S, S) normalised faces to (N, 2) float32 logits of (female, male)."""
        pooled = F.adaptive_avg_pool2d(self.features(faces), 1).flatten(1)
        return self.head(self.dropout(pooled)).float()


class GenderClassifier(StoredNetwork[GenderNet, GenderCalibration]):
    """A network with its input convention and temperature, trained with both genders equally frequent.

    Its probabilities therefore take female and male to be equally likely beforehand, whatever the crowd in the picture.
    """

    kind = "gender"
    model_settings = GenderModelConfig
    calibration_settings = GenderCalibration
    build = GenderNet

    @property
    def crop(self) -> CropConfig | None:
        """See :class:`GenderModel`."""
        return self.preprocessing.crop

    @torch.inference_mode()
    def logits(self, faces: Any, *, batch_size: int = 256) -> NDArray[np.float64]:
        """(N, 2) uncalibrated logits, the mean over each face and its mirror image."""
        rows: list[Tensor] = []
        for chunk in in_chunks(to_grey(faces), batch_size, "reading genders"):
            unit = normalise(resize(chunk.to(self.device), self.preprocessing.size), self.preprocessing)
            rows.append(0.5 * (self.net(unit) + self.net(unit.flip(-1))).double().cpu())
        return torch.cat(rows).numpy() if rows else np.zeros((0, len(GENDERS)))

    def predict(self, faces: Any, *, batch_size: int = 256) -> NDArray[np.float32]:
        """(N, 2) float32 probabilities of (female, male) of cropped faces as :func:`encoder.inference.preprocessing.to_grey`
        takes them.
        """
        scaled = self.logits(faces, batch_size=batch_size) / self.calibration.temperature
        return torch.softmax(torch.from_numpy(scaled), dim=1).float().numpy()


class DeepFaceGender:
    """DeepFace's gender network (VGG-Face trunk, 134 M parameters, in colour), called directly: its ``analyze`` reads one
    picture at a time. DeepFace downloads the weights once, without a checksum, into ``$DEEPFACE_HOME/.deepface/weights``.
    """

    crop: CropConfig | None = None

    def __init__(self, device: str = "auto") -> None:
        self._client = load_deepface("facial_attribute", "Gender", device)

    def predict(self, faces: Any) -> NDArray[np.float32]:
        """(N, 2) float32 probabilities of (female, male); faces as in :func:`encoder.pictures.colour_crops.colour_crops`."""
        return in_batches(self._client.predict, deepface_input(faces, (224, 224)), 2)


def create_gender(name: str = SHIPPED, *, device: str = "auto") -> GenderModel:
    """A gender classifier by name.

    Args:
        name: a folder of weights (the shipped one works offline), or ``deepface`` (about 0.5 GB, downloaded at first use).
        device: ``auto``, ``cpu`` or ``cuda``.

    Raises:
        UserError: no such folder, or DeepFace or its weights cannot be had.
    """
    if name == "deepface":
        return DeepFaceGender(device)
    from engine.devices import resolve_device
    from engine.storage.weights import resolve_folder

    try:
        folder = resolve_folder(name)
    except UserError:
        raise UserError(f"gender classifier {name!r}: no such folder of weights, and not deepface") from None
    return GenderClassifier.from_pretrained(folder).to(resolve_device(device))
