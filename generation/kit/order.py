"""One order of stimuli: how many people, which emotions, at which intensities."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pydantic import Field, field_validator, model_validator

from configs.cli import UserError
from configs.loader import StrictModel
from encoder.emotions import EMOTION_NAMES, Emotion, at_intensity, one_hot, parse_emotion
from generation.request import MAX_SEED, FaceRequest, make_request

if TYPE_CHECKING:
    from generation.draw import FaceModel

MOST_PEOPLE, MOST_LEVELS = 10_000, 20
NOT_FOR_STIMULI = {
    "best_of": "the first draws that are accepted are kept",
    "identity": "everybody stays the same person anyway",
    "intensity": "give --intensities",
    "valid_share": "stimuli are not split",
    "least_difference": "faces of one person are to be alike",
}


class Cell(NamedTuple):
    """What one face is asked to show. Neutral has no intensity: it stands at 1."""

    emotion: Emotion
    level: float

    @property
    def asked(self) -> tuple[float, ...]:
        """As a distribution over the seven, intensity mixed in."""
        return at_intensity(one_hot(self.emotion), self.level)

    def __str__(self) -> str:
        return f"{self.emotion.label}_{round(100 * self.level):03d}"


NEUTRAL = Cell(Emotion.NEUTRAL, 1.0)


class StimulusRequest(StrictModel):
    """One order of stimuli. ``settings`` go to every :class:`generation.request.FaceRequest`."""

    people: int = Field(ge=1, le=MOST_PEOPLE, description="people")
    emotions: tuple[str, ...] = EMOTION_NAMES
    intensities: tuple[float, ...] = (1.0,)
    rise: float = Field(
        0.05,
        ge=0,
        le=1,
        description="with --people: how much more the encoder must read from one intensity to the next; 0 is off",
    )
    seed: int = Field(0, ge=0, le=MAX_SEED)
    form: Literal["folders", "parquet"] = "folders"
    mark: bool = False
    settings: dict[str, Any] = Field(default_factory=dict)

    @field_validator("emotions")
    @classmethod
    def _are_emotions(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise UserError("emotions: name at least one, or all")
        named = {parse_emotion(name).label for name in value}
        return tuple(name for name in EMOTION_NAMES if name in named)

    @field_validator("intensities")
    @classmethod
    def _are_levels(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if not 1 <= len(value) <= MOST_LEVELS or not all(0.0 < level <= 1.0 for level in value):
            raise UserError(f"intensities: give 1 to {MOST_LEVELS} numbers above 0 up to 1, got {', '.join(map(str, value))}")
        if len({round(100 * level) for level in value}) < len(value):
            raise UserError("intensities: must differ by a hundredth at least, as they stand in the names of the files")
        return tuple(sorted(value))

    @model_validator(mode="after")
    def _every_face_can_be_asked_for(self) -> StimulusRequest:
        for cell in self.cells:
            self.face_request(cell)
        if self.seed + self.people > MAX_SEED:
            raise UserError(f"seed: the last person's would be above {MAX_SEED}")
        return self

    @property
    def cells(self) -> tuple[Cell, ...]:
        """What every person shows. Neutral is among them always: it is who the person is."""
        found = [
            Cell(emotion, level)
            for emotion in Emotion
            if emotion.label in self.emotions and emotion is not Emotion.NEUTRAL
            for level in self.intensities
        ]
        return (NEUTRAL, *found)

    def face_request(self, cell: Cell) -> FaceRequest:
        """What is asked of one face. Raises UserError: a setting is unknown or out of range."""
        return make_request(one_hot(cell.emotion), 1, self.seed, intensity=cell.level, **{**self.settings, "identity": True})

    def spelt_out(self, model: FaceModel) -> StimulusRequest:
        """The same order with every setting of its faces, those that it leaves open as ``model`` has them.

        Raises:
            UserError: something that the model cannot do is asked for.
        """
        whole = model.settled(self.face_request(NEUTRAL)).model_dump(exclude={"emotion", "count", "seed", "identity"})
        return self.model_copy(update={"settings": whole})
