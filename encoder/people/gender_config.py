"""Typed settings of the gender classifier: network, input, random changes, data, optimisation."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from configs.loader import StrictModel
from encoder.config import AugmentConfig, PreprocessingConfig, Width


class GenderModelConfig(StrictModel):
    """Architecture: a stack of 3x3 convolutions; see :class:`encoder.people.gender.GenderNet`."""

    name: Literal["stack"] = "stack"
    widths: tuple[Width, ...] = Field((24, 48, 96), min_length=1, max_length=5)
    dropout: float = Field(0.3, ge=0, lt=1)


class GenderCalibration(StrictModel):
    """Post-hoc correction, chosen on valid: ``softmax(logits / temperature)``."""

    temperature: float = Field(1.0, gt=0, le=100)


class GenderDataConfig(StrictModel):
    """Where the faces are, and how the people in them are divided into splits."""

    path: str | None = Field(None, description="faces.parquet of faces128, or the folder that holds it")
    split_seed: int = Field(0, ge=0, description="another seed, another division of the people")
    size: int = Field(64, ge=16, le=128, description="side in pixels at which training faces are kept")
    tight: float = Field(0.3, ge=0, lt=0.7, description="largest share of width and height cut off around a training face")


class GenderTrainConfig(StrictModel):
    """Optimisation."""

    epochs: float = Field(30, gt=0)
    batch_size: int = Field(96, ge=2)
    learning_rate: float = Field(2e-3, gt=0)
    weight_decay: float = Field(0.03, ge=0)
    label_smoothing: float = Field(0.05, ge=0, lt=1)
    ema_decay: float = Field(0.998, ge=0, lt=1)
    seed: int = Field(0, ge=0)
    max_minutes: float | None = Field(None, gt=0)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "no", "bf16"] = "auto"
    wandb: bool = False


class GenderConfig(StrictModel):
    """Everything ``python -m encoder.train_gender`` reads."""

    model: GenderModelConfig = GenderModelConfig()
    preprocessing: PreprocessingConfig = PreprocessingConfig()
    augment: AugmentConfig = AugmentConfig()
    data: GenderDataConfig = GenderDataConfig()
    train: GenderTrainConfig = GenderTrainConfig()
