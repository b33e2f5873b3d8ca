"""The rows of the ablation: one change each, as settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.cli import UserError

if TYPE_CHECKING:
    from encoder.config import EncoderConfig


@dataclass(frozen=True)
class Variant:
    """One row: what it changes in the configuration, and from which row's weights it starts.

    ``tau`` is a prior correction of the finished network (no training where nothing else changes).
    """

    name: str
    title: str
    changes: dict[str, Any] = field(default_factory=dict)
    start: str | None = None
    tau: float = 0.0
    epochs: float = 1.0

    @property
    def trains(self) -> bool:
        """Whether the row needs a training of its own."""
        return bool(self.changes)


_STAGE_1 = {"model.heads": ["fer2013", "ferplus"], "train.mixup": 0.2}


_STAGE_2 = {**_STAGE_1, "train.mixup": 0.0, "train.trunk_rate": 0.1}


VARIANTS = (
    Variant("cross-entropy", "cross-entropy on labels", {"model.heads": ["fer2013"], "train.mixup": 0.0}),
    Variant("votes", "+ votes (second head)", {"model.heads": ["fer2013", "ferplus"], "train.mixup": 0.0}),
    Variant("stage-1", "+ mixup (stage 1)", _STAGE_1),
    Variant("square-root-sampling", "stage 1, square-root sampling", {**_STAGE_1, "train.sampling": "square_root"}),
    Variant("balanced-sampling", "stage 1, balanced sampling", {**_STAGE_1, "train.sampling": "balanced"}),
    Variant("balanced-softmax", "stage 1, balanced softmax", {**_STAGE_1, "train.logit_adjustment": 1.0}),
    Variant("post-hoc", "stage 1, logits corrected afterwards (tau 1)", start="stage-1", tau=1.0),
    Variant(
        "crt",
        "stage 1, then head re-trained on balanced draws (cRT)",
        {**_STAGE_2, "train.trainable": "head", "train.reset_heads": True, "train.sampling": "balanced"},
        start="stage-1",
        epochs=0.2,
    ),
    Variant(
        "stage-2",
        "stage 1, then head and last stage with balanced softmax",
        {**_STAGE_2, "train.trainable": "last_stage", "train.logit_adjustment": 1.0},
        start="stage-1",
        epochs=0.2,
    ),
)


def parse_seeds(text: str) -> list[int]:
    """The whole numbers of a list such as ``0,1,2``. Raises UserError: something else, or a seed twice."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts) or len(set(parts)) < len(parts):
        raise UserError(f"--seeds {text}: give different whole numbers separated by commas, such as 0,1,2")
    return [int(part) for part in parts]


def parse_rows(text: str | None) -> list[Variant]:
    """The rows named in a list such as ``stage-1,crt``, in the order of the table; all for None.

    Raises UserError: a name that no row has.
    """
    known = [variant.name for variant in VARIANTS]
    asked = known if text is None else [part.strip() for part in text.split(",")]
    unknown = [name for name in asked if name not in known]
    if unknown:
        raise UserError(f"--only: there is no row {unknown[0]!r}; the rows are {', '.join(known)}")
    return [variant for variant in VARIANTS if variant.name in asked]


def variant_by_name(name: str) -> Variant:
    """The row called ``name``."""
    return next(variant for variant in VARIANTS if variant.name == name)


def row_config(base: EncoderConfig, variant: Variant, seed: int, start: Path | None) -> EncoderConfig:
    """``base`` as ``variant`` changes it; ``start`` are the weights it goes on from."""
    from configs.loader import validate
    from encoder.config import EncoderConfig

    content = base.model_dump(mode="json")
    changes = {
        **variant.changes,
        "train.seed": seed,
        "train.epochs": base.train.epochs * variant.epochs,
        "train.init": None if start is None else str(start),
    }
    for key, value in changes.items():
        section, name = key.split(".")
        content[section][name] = value
    return validate(EncoderConfig, content, f"row {variant.name}")
