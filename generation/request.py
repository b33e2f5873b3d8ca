"""What somebody asks for, checked once at the edge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any, Literal, TypedDict, Unpack

from pydantic import Field, ValidationInfo, field_validator, model_validator

from configs.cli import UserError
from configs.loader import StrictModel, validate
from encoder.emotions import EMOTION_NAMES, NUM_EMOTIONS, Emotion, as_distribution, as_mapping, at_intensity

MAX_COUNT = 100_000
MAX_SEED = 2**40
# Share of real faces that a delivered one must look more real than, where a critic is there to say it.
REALISM = 0.4
# The same where a person is kept: most of the face is given, and only brows, eyes and mouth can be drawn better.
REALISM_OF_A_PERSON = 0.2

# By the names of vqvae.faces.SOURCES and vqvae.attributes.ATTRIBUTES; spelt out, so that --help does not import torch.
Look = Literal["photo", "fer2013", "faces128", "drawn"]
Age = Literal["0-2", "3-9", "10-19", "20-29", "30-39", "40-49", "50-59", "60-69", "70+", "any", "even"]
Group = Literal[
    "black", "east-asian", "indian", "latino", "middle-eastern", "southeast-asian", "white", "any", "even"
]  # fmt: skip

# What asks for an emotion; see encoder.emotions.as_distribution.
Asked = str | Emotion | int | Mapping[Any, float] | Sequence[float]


class FaceRequest(StrictModel):
    """One order of faces. ``emotion`` is a distribution over the seven in enum order, intensity already mixed in.

    None leaves a setting to the weights: :meth:`generation.draw.FaceModel.settled` says which value that is. ``hands``,
    ``eyes``, ``gender``, ``age`` and ``group`` are one class, ``any`` (the model is not told) or ``even`` (each face draws its
    own from its seed).

    Descriptions are also the help of the command lines; see :mod:`generation.options`.
    """

    emotion: tuple[float, ...] = Field(min_length=NUM_EMOTIONS, max_length=NUM_EMOTIONS)
    count: int = Field(16, ge=1, le=MAX_COUNT, description="faces to deliver")
    seed: int = Field(0, ge=0, le=MAX_SEED, description="face i uses seed + i")
    avoid: tuple[float, ...] | None = Field(None, description="guide away from this emotion, and refuse faces with it")
    avoidance: float = Field(0.5, gt=0, le=1, description="with --not: share of the guidance that leads away, above 0 to 1")
    look: Look | None = Field(None, description="look of the faces")
    hands: Literal["no", "yes", "any"] | None = Field(None, description="hand or object before the face")
    eyes: Literal["open", "closed", "any"] | None = Field(None, description="open or closed")
    gender: Literal["female", "male", "any", "even"] | None = Field(None, description="as raters perceive it")
    age: Age | None = Field(None, description="in years, as raters perceive it")
    group: Group | None = Field(None, description="as raters perceive it")
    guidance: float | None = Field(None, ge=0, le=20, description="strength of classifier-free guidance")
    guided: tuple[float, float] | None = Field(
        None, description="shares of the steps between which guidance holds in full, and is off elsewhere"
    )
    autoguidance: float | None = Field(
        None, ge=0, le=20, description="strength of guidance away from an unfinished prior; 0 is off"
    )
    encoder_guidance: float = Field(0.0, ge=0, le=100, description="weight of the encoder in choosing tokens; 0 is off")
    candidates: int = Field(4, ge=2, le=16, description="with --encoder-guidance: candidates of each step")
    steps: int | None = Field(None, ge=1, le=1024, description="unmasking steps")
    temperature: float | None = Field(None, ge=0, le=10, description="of the sampler; 0 takes the likeliest codes")
    cooled: float | None = Field(None, ge=0, le=10, description="temperature for the last details; see --temperature")
    threshold: float = Field(0.5, ge=0, le=1, description="least calibrated match that a face must reach, 0 to 1")
    realism: float | None = Field(
        None, ge=0, le=1, description="share of real faces that must look less real, by the critic; 0 is off"
    )
    landmarks: Literal["on", "off"] | None = Field(
        None, description="refuse faces whose eyes or mouth a detector finds elsewhere"
    )
    as_told: Literal["on", "off"] | None = Field(
        None, description="refuse faces whose hands or eyes are not as asked, by a probe"
    )
    max_tries: int = Field(32, ge=1, le=10_000, description="draws per face before giving up")
    best_of: int = Field(1, ge=1, le=1000, description="draw every face so often, and keep the accepted one of highest match")
    precision: Literal["float32", "bf16"] = Field("float32", description="of the prior; bf16 is faster, faces differ a little")
    identity: bool = Field(False, description="one person a seed, whatever the emotion: only brows, eyes and mouth change")

    @field_validator("guided")
    @classmethod
    def _is_a_stretch(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and not 0.0 <= value[0] < value[1] <= 1.0:
            raise UserError(f"guided: needs two rising shares of the steps between 0 and 1, got {value[0]:g} and {value[1]:g}")
        return value

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
        for name, asked, avoided in zip(EMOTION_NAMES, self.emotion, self.avoid or (0.0,) * NUM_EMOTIONS, strict=True):
            if asked and avoided:
                raise UserError(f"{name} is asked for and to be avoided at once; leave it out of one of the two")
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


class FaceSettings(TypedDict, total=False):
    """What a :class:`FaceRequest` may be given by name besides emotion, count and seed; ``source`` is an older ``look``."""

    avoid: Asked | None
    avoidance: float
    look: Look | None
    source: Look | None
    hands: Literal["no", "yes", "any"] | None
    eyes: Literal["open", "closed", "any"] | None
    gender: Literal["female", "male", "any", "even"] | None
    age: Age | None
    group: Group | None
    guidance: float | None
    guided: tuple[float, float] | None
    autoguidance: float | None
    encoder_guidance: float
    candidates: int
    steps: int | None
    temperature: float | None
    cooled: float | None
    threshold: float
    realism: float | None
    landmarks: Literal["on", "off"] | None
    as_told: Literal["on", "off"] | None
    max_tries: int
    best_of: int
    precision: Literal["float32", "bf16"]
    identity: bool


# What diffusers calls these settings, which many write first.
ELSEWHERE = {
    "prompt": "emotion", "negative_prompt": "avoid", "num_images_per_prompt": "count", "generator": "seed",
    "num_inference_steps": "steps", "guidance_scale": "guidance",
}  # fmt: skip


def make_request(
    emotion: Asked, count: int = 16, seed: int = 0, *, intensity: float = 1.0, **settings: Unpack[FaceSettings]
) -> FaceRequest:
    """A checked request.

    Args:
        emotion: a name (``"fear"``, ``"peur"``), a compound (``"happily surprised"``), a mixture (``"fear:0.7,surprise:0.3"``
            or ``{"fear": 0.7, "surprise": 0.3}``), an :class:`encoder.emotions.Emotion` or its number, or seven probabilities.
        intensity: 0 (neutral) to 1.
        settings: the other fields of :class:`FaceRequest`, ``avoid`` given as ``emotion`` is; ``source`` is an older name of
            ``look``.

    Raises:
        UserError: a setting is unknown or out of range.
    """
    for name in settings:
        if name in ELSEWHERE:
            raise UserError(f"request: {name}: here it is called {ELSEWHERE[name]}")
    given: dict[str, Any] = {name: _plain(value) for name, value in settings.items()}
    if "source" in given:
        look = given.pop("source")
        if given.setdefault("look", look) != look:
            raise UserError(f"look and source are one setting, and differ: {given['look']} and {look}")
    if given.get("avoid") is not None:
        given["avoid"] = as_distribution(given["avoid"], "avoid")
    asked = at_intensity(as_distribution(emotion), _plain(intensity))
    return validate(FaceRequest, {"emotion": asked, "count": _plain(count), "seed": _plain(seed), **given}, "request")


def _plain(value: Any) -> Any:
    """A number of NumPy or torch as one of Python; all else as it is."""
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        return value.item()
    return int(value) if isinstance(value, Integral) and not isinstance(value, bool | Emotion) else value
