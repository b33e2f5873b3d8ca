"""A trained model on landmarks: stored as arrays beside its description, loaded strictly, answering with probabilities."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import nn

from configs.cli import UserError
from configs.loader import StrictModel, validate
from encoder.config import CalibrationConfig, HeadCalibration, LandmarkModelName
from encoder.emotions import NUM_EMOTIONS
from encoder.inference.calibration import calibrated_log_probabilities
from encoder.landmarks.features import NUM_FEATURES, features
from encoder.landmarks.scores import SCORERS, check_trees
from engine.storage.weights import load_network, read_config, save_weights

if TYPE_CHECKING:
    from encoder.inference.emotion_encoder import EmotionEncoder

KIND = "landmarks"
HEAD = "fer2013"
# A stored description is refused before it can ask for absurd amounts of memory.
_MOST_NUMBERS = 1 << 27
_DTYPES = {"float32": torch.float32, "float64": torch.float64, "int32": torch.int32, "int8": torch.int8, "uint8": torch.uint8}


class _ArrayConfig(StrictModel):
    shape: tuple[Annotated[int, Field(ge=0, le=_MOST_NUMBERS)], ...] = Field(max_length=3)
    dtype: Literal["float32", "float64", "int32", "int8", "uint8"]


class _LandmarkModelConfig(StrictModel):
    name: LandmarkModelName
    arrays: dict[str, _ArrayConfig]


class _Arrays(nn.Module):
    """Named buffers of the described shapes, for :func:`engine.storage.weights.load_weights` to fill."""

    def __init__(self, arrays: dict[str, _ArrayConfig], where: str) -> None:
        super().__init__()
        if sum(math.prod(array.shape) for array in arrays.values()) > _MOST_NUMBERS:
            raise UserError(f"{where}: model.arrays asks for more than {_MOST_NUMBERS} numbers")
        for name, array in arrays.items():
            if not name.isidentifier():
                raise UserError(f"{where}: model.arrays: {name!r} is not a name")
            self.register_buffer(name, torch.empty(array.shape, dtype=_DTYPES[array.dtype]))


@dataclass
class LandmarkClassifier:
    """One of :data:`encoder.landmarks.models.LANDMARK_MODELS` with its standardisation and calibration.

    Attributes:
        name: of the model.
        arrays: what was fitted, with ``mean`` and ``deviation`` (F,) of the training features.
        size: side in pixels of the faces whose landmarks it read.
    """

    name: str
    arrays: dict[str, NDArray[Any]]
    size: int
    calibration: CalibrationConfig

    def scores(self, landmarks: NDArray[np.floating]) -> NDArray[np.float64]:
        """(N, 7) uncalibrated scores of (N, 68, 2) landmarks, read as logits."""
        return SCORERS[self.name](self.arrays, standardised(features(landmarks), self.arrays))

    def probabilities(self, landmarks: NDArray[np.floating]) -> NDArray[np.float64]:
        """(N, 7) calibrated probabilities in the order of ``Emotion``."""
        calibration = self.calibration.heads.get(HEAD, HeadCalibration())
        return calibrated_log_probabilities(torch.from_numpy(self.scores(landmarks)), calibration).exp().numpy()

    @property
    def parameters(self) -> int:
        """Numbers that were fitted (of ``landmarks-lightgbm``: bytes of its text)."""
        return sum(array.size for name, array in self.arrays.items() if name not in ("mean", "deviation"))

    def save_pretrained(self, folder: str | Path, **notes: Any) -> None:
        """Write arrays and everything needed to load them; ``notes`` go into ``config.json``."""
        described = {name: {"shape": list(array.shape), "dtype": str(array.dtype)} for name, array in self.arrays.items()}
        config = {
            "kind": KIND,
            "model": {"name": self.name, "arrays": described},
            "preprocessing": {"size": self.size},
            "calibration": self.calibration.model_dump(mode="json"),
            **notes,
        }
        # In half precision the thresholds of trees would fall on other faces.
        save_weights(folder, {name: torch.from_numpy(array) for name, array in self.arrays.items()}, config, half=False)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Self:
        """Load strictly from ``folder`` (``config.json`` + ``model.safetensors``).

        Raises UserError: anything missing, unknown, of another shape, not finite, or not a model that can answer.
        """
        stored = read_config(folder, KIND)
        where = f"{folder}/config.json"
        model = validate(_LandmarkModelConfig, stored["model"], where)
        size = validate(_Size, stored.get("preprocessing", {}), where).size
        calibration = validate(CalibrationConfig, stored.get("calibration", {}), where)
        holder = load_network(folder, stored, lambda: _Arrays(model.arrays, where))
        arrays = {name: value.numpy() for name, value in holder.named_buffers()}
        made = cls(model.name, arrays, size, calibration)
        made._check(where)
        return made

    def _check(self, where: str) -> None:
        """Let it answer once: arrays that do not fit each other are found here and not at the first face."""
        if any(self.arrays.get(name, np.empty(0)).shape != (NUM_FEATURES,) for name in ("mean", "deviation")):
            raise UserError(f"{where}: mean and deviation of {NUM_FEATURES} features are needed")
        if self.name == "landmarks-forest":
            check_trees(self.arrays, NUM_FEATURES)
        try:
            answer = SCORERS[self.name](self.arrays, np.zeros((1, NUM_FEATURES), np.float32))
        except (KeyError, ValueError, IndexError) as error:
            raise UserError(f"{where}: the arrays do not make a {self.name} ({' '.join(str(error).split())})") from None
        if answer.shape != (1, NUM_EMOTIONS) or not np.isfinite(answer).all():
            raise UserError(f"{where}: the arrays do not make a {self.name} of {NUM_EMOTIONS} emotions")


class _Size(StrictModel):
    size: int = Field(48, ge=16, le=512)


def standardised(x: NDArray[np.float32], arrays: dict[str, NDArray[Any]]) -> NDArray[np.float32]:
    """Features with mean 0 and deviation 1 over the training faces."""
    return ((x - arrays["mean"]) / arrays["deviation"]).astype(np.float32)


def load_classifier(folder: Path, device: torch.device) -> EmotionEncoder | LandmarkClassifier:
    """The network, or the model on landmarks, that ``folder`` holds. Raises UserError: neither of them, or a damaged one."""
    from encoder.inference import emotion_encoder

    if read_config(folder, (emotion_encoder.KIND, KIND))["kind"] == KIND:
        return LandmarkClassifier.from_pretrained(folder)
    return emotion_encoder.EmotionEncoder.from_pretrained(folder).to(device)
