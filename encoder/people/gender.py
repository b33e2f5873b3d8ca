"""Attributes of a face: gender as data sets record it, off unless asked for. See docs/responsible/gender_and_identity.md.

``female`` and ``male`` are labels that people gave to photographs, from name and appearance (Afifi & Abdelhamed, 2017).
They are not anybody's gender identity, which no picture shows.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from configs.cli import UserError
from encoder.inference.preprocessing import normalise, resize, to_grey
from encoder.inference.stored_network import StoredNetwork
from encoder.people.gender_config import GenderCalibration, GenderModelConfig
from encoder.people.gender_net import GenderNet

GENDERS = ("female", "male")
SHIPPED = "pretrained/gender"


class GenderModel(Protocol):
    """What :func:`create_gender` returns."""

    def predict(self, faces: Any) -> NDArray[np.float32]:
        """(N, 2) float32 probabilities in the order of ``GENDERS``; faces as in :meth:`GenderClassifier.predict`."""


class GenderClassifier(StoredNetwork[GenderNet, GenderCalibration]):
    """A network with its input convention and temperature, trained with both genders equally frequent.

    Its probabilities therefore take female and male to be equally likely beforehand, whatever the crowd in the picture.
    """

    kind = "gender"
    model_settings = GenderModelConfig
    calibration_settings = GenderCalibration
    build = GenderNet

    @torch.inference_mode()
    def logits(self, faces: Any, *, batch_size: int = 256) -> NDArray[np.float64]:
        """(N, 2) uncalibrated logits, the mean over each face and its mirror image."""
        rows: list[Tensor] = []
        for chunk in to_grey(faces).split(batch_size):
            unit = normalise(resize(chunk.to(self.device), self.preprocessing.size), self.preprocessing)
            rows.append(0.5 * (self.net(unit) + self.net(unit.flip(-1))).double().cpu())
        return torch.cat(rows).numpy() if rows else np.zeros((0, len(GENDERS)))

    def predict(self, faces: Any, *, batch_size: int = 256) -> NDArray[np.float32]:
        """Read a batch of cropped faces.

        Args:
            faces: see :func:`encoder.inference.preprocessing.to_grey`: uint8 or [0, 1] floats, grey or RGB, any size.

        Returns:
            (N, 2) float32 probabilities of (female, male).

        Raises:
            UserError: faces of another shape, type or range.
        """
        scaled = self.logits(faces, batch_size=batch_size) / self.calibration.temperature
        return torch.softmax(torch.from_numpy(scaled), dim=1).float().numpy()


def create_gender(name: str = SHIPPED, *, device: str = "auto") -> GenderModel:
    """A gender classifier by name.

    Args:
        name: a folder of weights (the shipped one works offline), or ``deepface`` (about 0.5 GB, downloaded at first use).
        device: ``auto``, ``cpu`` or ``cuda``.

    Raises:
        UserError: no such folder, or DeepFace or its weights cannot be had.
    """
    if name == "deepface":
        from encoder.people.deepface_networks import DeepFaceGender

        return DeepFaceGender(device)
    from engine.devices import resolve_device
    from engine.storage.weights import resolve_folder

    try:
        folder = resolve_folder(name)
    except UserError:
        raise UserError(f"gender classifier {name!r}: no such folder of weights, and not deepface") from None
    return GenderClassifier.from_pretrained(folder).to(resolve_device(device))
