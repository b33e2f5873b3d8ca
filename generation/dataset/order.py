"""One order of a labelled set: how many faces of which emotion, and how its candidates are asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, Unpack

from pydantic import Field, field_validator, model_validator

from configs.cli import UserError
from configs.loader import StrictModel, validate
from configs.values import refuse
from encoder.emotions import one_hot
from generation.dataset.counts import Cell, cell_of, check_counts, spread
from generation.request import MAX_SEED, FaceRequest, FaceSettings, make_request
from vqvae.attributes import AttributeName

if TYPE_CHECKING:
    from generation.draw import FaceModel

BLOCK = 32
# Candidates looked at before a cell is given up, as a multiple of the faces asked for.
PATIENCE = 4
NOT_FOR_SETS = {
    "best_of": "a set is to hold what is accepted, not the clearest of it",
    "intensity": "a set holds faces of the full emotion that their label names",
}


class DatasetRequest(StrictModel):
    """One order of a labelled set. ``settings`` go to every :class:`FaceRequest`.

    ``counts`` are faces by cell: by emotion (``"fear"``), or by emotion and classes (``"fear/white"``), which are then told to
    the prior in place of what the settings say of their attributes.
    """

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
        return check_counts(value)

    @model_validator(mode="after")
    def _nobody_is_told_twice(self) -> DatasetRequest:
        for name in self.cells[0].attributes:
            if self.settings.get(name) is not None:
                raise UserError(f"{name}: the counts say it already ({self.cells[0].name}); leave one of the two out")
        return self

    @model_validator(mode="after")
    def _every_block_can_be_asked_for(self) -> DatasetRequest:
        for place, cell in enumerate(self.cells):
            self.candidates((self.block_limit(cell) - 1) * len(self.cells) + place)
        return self

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """Who is counted, emotion by emotion in enum order."""
        return tuple(map(cell_of, self.counts))

    @property
    def block_size(self) -> int:
        """Candidates in a block."""
        return min(BLOCK, max(self.counts.values()))

    def block_limit(self, cell: Cell) -> int:
        """Blocks of ``cell`` that are drawn at most."""
        return PATIENCE * -(-self.counts[cell.name] // self.block_size)

    def spelt_out(self, model: FaceModel) -> DatasetRequest:
        """The same order with every setting of its faces, those that it leaves open as ``model`` has them.

        Raises:
            UserError: something that the model cannot do is asked for.
        """
        counted = set(self.cells[0].attributes)
        whole = model.settled(self.candidates(0)).model_dump(exclude={"emotion", "count", "seed", *counted})
        return self.model_copy(update={"settings": whole})

    def candidates(self, number: int) -> FaceRequest:
        """Block ``number`` as a request. Cells take turns; candidate i of the whole set is seeded ``seed + i``."""
        cell = self.cell(number)
        seed = self.seed + number * self.block_size
        settings = self.settings | {str(name): word for name, word in cell.told}
        return make_request(one_hot(cell.emotion), self.block_size, seed, **settings)

    def cell(self, number: int) -> Cell:
        """Whose candidates block ``number`` holds."""
        return self.cells[number % len(self.cells)]


def ask(
    counts: Mapping[str, int],
    *,
    each: Sequence[AttributeName] = (),
    seed: int = 0,
    valid: float = 0.1,
    format: str = "folders",
    least_difference: float = 10.0,
    mark: bool = False,
    **settings: Unpack[FaceSettings],
) -> DatasetRequest:
    """A checked order under the names of the command line; ``settings`` as of :class:`generation.request.FaceRequest`.

    Args:
        counts: faces by emotion (``"fear"``), or by emotion and classes (``"fear/white"``).
        each: attributes of which every class gets these counts; age from 3-9 up.

    Raises:
        UserError: a setting is unknown or out of range.
    """
    if not isinstance(counts, Mapping):
        refuse("counts", "a mapping such as {'disgust': 40, 'fear': 20}", counts)
    for name, why in NOT_FOR_SETS.items():
        if name in settings:
            raise UserError(f"{name}: {why}; leave it out")
    asked = {"seed": seed, "valid_share": valid, "form": format, "least_difference": least_difference, "mark": mark}
    wanted = spread(counts, each)
    return validate(DatasetRequest, {"counts": wanted, **asked, "settings": settings}, "request")
