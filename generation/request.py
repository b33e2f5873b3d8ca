"""What somebody asks for, checked once at the edge."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from configs.cli import UserError
from configs.loader import StrictModel
from encoder.emotions import NUM_EMOTIONS

MAX_COUNT = 100_000
MAX_SEED = 2**40


class FaceRequest(StrictModel):
    """One order of faces. ``emotion`` is a distribution over the seven in enum order, intensity already mixed in."""

    emotion: tuple[float, ...] = Field(min_length=NUM_EMOTIONS, max_length=NUM_EMOTIONS)
    count: int = Field(16, ge=1, le=MAX_COUNT)
    seed: int = Field(0, ge=0, le=MAX_SEED)
    guidance: float = Field(3.0, ge=0, le=20, description="strength of classifier-free guidance at the last step")
    steps: int = Field(12, ge=1, le=1024, description="unmasking steps")
    temperature: float = Field(0.8, ge=0, le=10)
    threshold: float = Field(0.5, ge=0, le=1, description="least calibrated match a face must reach")
    max_tries: int = Field(32, ge=1, le=10_000, description="draws per face before giving up")
    source: Literal["fer2013", "faces128", "drawn"] = "fer2013"

    @field_validator("emotion")
    @classmethod
    def _is_distribution(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if any(p < 0 for p in value) or abs(sum(value) - 1.0) > 1e-6:
            raise UserError(f"emotion: must be seven probabilities that sum to 1, got {value}")
        return value
