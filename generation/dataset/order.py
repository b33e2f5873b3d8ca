"""One order of a labelled set: how many faces of which emotion, and how its candidates are asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, Unpack

from pydantic import Field, field_validator, model_validator

from configs.cli import UserError
from configs.loader import StrictModel, validate
from configs.values import refuse
from encoder.emotions import EMOTION_NAMES, Emotion, one_hot
from generation.request import MAX_COUNT, MAX_SEED, FaceRequest, FaceSettings, make_request

if TYPE_CHECKING:
    from generation.draw import FaceModel

BLOCK = 32
# Candidates looked at before an emotion is given up, as a multiple of the faces asked for.
PATIENCE = 4
NOT_FOR_SETS = {
    "best_of": "a set is to hold what is accepted, not the clearest of it",
    "intensity": "a set holds faces of the full emotion that their label names",
}


class DatasetRequest(StrictModel):
    """One order of a labelled set. ``counts`` are faces by emotion; ``settings`` go to every :class:`FaceRequest`."""

    counts: dict[str, int]
    seed: int = Field(0, ge=0, le=MAX_SEED, description="candidate i uses seed + i")
    valid_share: float = Field(0.1, ge=0, le=0.9, description="share of each emotion held out as valid")
    form: Literal["folders", "parquet"] = Field("folders", description="layout of the set")
    least_difference: float = Field(
        10.0, ge=0, le=255, description="grey levels by which two faces differ at least; 0 keeps near copies"
    )
    mark: bool = Field(False, description="draw a visible mark on every face: to show the set, not to train on it")
    settings: dict[str, Any] = Field(default_factory=dict)

    @field_validator("counts")
    @classmethod
    def _are_counts(cls, value: dict[str, int]) -> dict[str, int]:
        if not value or not set(value) <= set(EMOTION_NAMES):
            raise UserError(
                f"counts: give faces for at least one of {', '.join(EMOTION_NAMES)}, got {', '.join(value) or 'none'}"
            )
        for name, count in value.items():
            if not 1 <= count <= MAX_COUNT:
                raise UserError(f"counts: {name}: must lie between 1 and {MAX_COUNT}, got {count}")
        return {name: value[name] for name in EMOTION_NAMES if name in value}

    @model_validator(mode="after")
    def _every_block_can_be_asked_for(self) -> DatasetRequest:
        for place, emotion in enumerate(self.emotions):
            self.candidates((self.block_limit(emotion) - 1) * len(self.emotions) + place)
        return self

    @property
    def emotions(self) -> tuple[Emotion, ...]:
        """The emotions asked for, in enum order."""
        return tuple(emotion for emotion in Emotion if emotion.label in self.counts)

    @property
    def block_size(self) -> int:
        """Candidates in a block."""
        return min(BLOCK, max(self.counts.values()))

    def block_limit(self, emotion: Emotion) -> int:
        """Blocks of ``emotion`` that are drawn at most."""
        return PATIENCE * -(-self.counts[emotion.label] // self.block_size)

    def spelt_out(self, model: FaceModel) -> DatasetRequest:
        """The same order with every setting of its faces, those that it leaves open as ``model`` has them.

        Raises:
            UserError: something that the model cannot do is asked for.
        """
        whole = model.settled(self.candidates(0)).model_dump(exclude={"emotion", "count", "seed"})
        return self.model_copy(update={"settings": whole})

    def candidates(self, number: int) -> FaceRequest:
        """Block ``number`` as a request. Emotions take turns; candidate i of the whole set is seeded ``seed + i``."""
        emotion = self.emotions[number % len(self.emotions)]
        seed = self.seed + number * self.block_size
        return make_request(one_hot(emotion), self.block_size, seed, **self.settings)


def ask(
    counts: Mapping[str, int],
    *,
    seed: int = 0,
    valid: float = 0.1,
    format: str = "folders",
    least_difference: float = 10.0,
    mark: bool = False,
    **settings: Unpack[FaceSettings],
) -> DatasetRequest:
    """A checked order under the names of the command line; ``settings`` as of :class:`generation.request.FaceRequest`.

    Raises:
        UserError: a setting is unknown or out of range.
    """
    if not isinstance(counts, Mapping):
        refuse("counts", "a mapping such as {'disgust': 40, 'fear': 20}", counts)
    for name, why in NOT_FOR_SETS.items():
        if name in settings:
            raise UserError(f"{name}: {why}; leave it out")
    asked = {"seed": seed, "valid_share": valid, "form": format, "least_difference": least_difference, "mark": mark}
    return validate(DatasetRequest, {"counts": dict(counts), **asked, "settings": settings}, "request")
