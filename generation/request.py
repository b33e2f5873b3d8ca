"""What somebody asks for, checked once at the edge."""

from __future__ import annotations

from argparse import Namespace
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from configs.cli import UserError
from configs.loader import StrictModel
from encoder.emotions import EMOTION_NAMES, NUM_EMOTIONS, as_mapping

MAX_COUNT = 100_000
MAX_SEED = 2**40


class FaceRequest(StrictModel):
    """One order of faces. ``emotion`` is a distribution over the seven in enum order, intensity already mixed in."""

    emotion: tuple[float, ...] = Field(min_length=NUM_EMOTIONS, max_length=NUM_EMOTIONS)
    count: int = Field(16, ge=1, le=MAX_COUNT)
    seed: int = Field(0, ge=0, le=MAX_SEED)
    avoid: tuple[float, ...] | None = Field(None, description="distribution to be guided away from; its emotions cost match")
    avoidance: float = Field(0.5, gt=0, le=1, description="share of the guidance that leads away from what is to be avoided")
    guidance: float = Field(3.0, ge=0, le=20, description="strength of classifier-free guidance at the last step")
    encoder_guidance: float = Field(
        0.0, ge=0, le=100, description="power of the encoder's match by which candidates of each step are weighed; 0: off"
    )
    candidates: int = Field(4, ge=2, le=16, description="candidates of each step, where encoder_guidance is on")
    steps: int = Field(12, ge=1, le=1024, description="unmasking steps")
    temperature: float = Field(0.8, ge=0, le=10)
    threshold: float = Field(0.5, ge=0, le=1, description="least calibrated match a face must reach")
    max_tries: int = Field(32, ge=1, le=10_000, description="draws per face before giving up")
    best_of: int = Field(1, ge=1, le=1000, description="draws of every face, of which the accepted one of highest match is kept")
    source: Literal["fer2013", "faces128", "drawn"] = "fer2013"
    precision: Literal["float32", "bf16"] = Field("float32", description="of the prior's arithmetic; other faces, faster")
    identity: bool = Field(False, description="keep the person: only brows, eyes and mouth differ from the seed's neutral face")

    @field_validator("emotion", "avoid")
    @classmethod
    def _is_distribution(cls, value: tuple[float, ...] | None, info: ValidationInfo) -> tuple[float, ...] | None:
        if value is None:
            return None
        if len(value) != NUM_EMOTIONS or any(p < 0 for p in value) or abs(sum(value) - 1.0) > 1e-6:
            raise UserError(f"{info.field_name}: must be seven probabilities that sum to 1, got {value}")
        return value

    @model_validator(mode="after")
    def _nothing_is_asked_and_avoided(self) -> FaceRequest:
        both = [
            name for name, p, q in zip(EMOTION_NAMES, self.emotion, self.avoid or (0.0,) * NUM_EMOTIONS, strict=True) if p and q
        ]
        if both:
            raise UserError(f"{both[0]} is asked for and to be avoided at once; leave it out of one of the two")
        return self

    @model_validator(mode="after")
    def _draws_suffice(self) -> FaceRequest:
        if self.best_of > self.max_tries:
            raise UserError(f"best_of: {self.best_of} draws of a face need a max_tries as high, got {self.max_tries}")
        return self

    def as_record(self) -> dict[str, Any]:
        """The request for a manifest: everything but distributions as it is, those by name."""
        avoid = None if self.avoid is None else dict(as_mapping(self.avoid))
        return {**self.model_dump(mode="json"), "emotion": dict(as_mapping(self.emotion)), "avoid": avoid}


def require_partners(arguments: Namespace) -> None:
    """Refuse options of a command line that would do nothing without another.

    Raises:
        UserError: ``--avoidance`` without ``--not``, or ``--candidates`` without ``--encoder-guidance``.
    """
    pairs = (("--avoidance", arguments.avoidance, "--not", arguments.avoid),
             ("--candidates", arguments.candidates, "--encoder-guidance", arguments.encoder_guidance))  # fmt: skip
    for option, value, partner, other in pairs:
        if value is not None and other is None:
            raise UserError(f"{option}: does nothing without {partner}; add {partner}, or leave it out")
