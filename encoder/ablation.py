"""Which part of the training makes the encoder right about neglected emotions: one table, several seeds."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if __package__ in (None, ""):
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from configs.cli import UserError, run
from configs.loader import add_config_arguments, load_config, to_yaml

if TYPE_CHECKING:
    from encoder.config import EncoderConfig

EXAMPLES = """examples:
  python -m encoder.ablation --data DATA --out out/ablation
  python -m encoder.ablation --data DATA --seeds 0,1,2,3,4 --only cross-entropy,stage-1,crt
  python -m encoder.ablation --data DATA train.epochs=60 'model.widths=[64,128,256]' --out out/ablation-full

Every row is the configuration with a few settings changed, trained from scratch or from the weights of the row that it
names, with each seed. Only the temperature is fitted on valid; prior correction is part of a row or absent. What is
finished is kept: give the same command again to go on after Ctrl-C. Written: table.md, table.csv, ablation.json, and under
runs/ every run with its weights. Figures are of the FER-2013 head on test, and on valid beside it."""

DEFAULT_CONFIG = "configs/encoder/ablation.yaml"


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


def build_parser() -> argparse.ArgumentParser:
    """The command line; imports nothing heavy."""
    parser = argparse.ArgumentParser(
        prog="python -m encoder.ablation",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_config_arguments(parser)
    parser.add_argument("--data", required=True, help='folder with FER-2013, or "drawn"')
    parser.add_argument("--out", type=Path, default=Path("out/ablation"), help="default: %(default)s")
    parser.add_argument("--seeds", default="0,1,2", help="default: %(default)s")
    names = ", ".join(variant.name for variant in VARIANTS)
    parser.add_argument("--only", metavar="ROW,ROW", help=f"rows to make; default: all of {names}")
    return parser


def main(argv: Sequence[str]) -> int:
    """Make every row that is not there yet, then the table; returns the exit code."""
    from encoder.config import EncoderConfig

    arguments = build_parser().parse_args(argv)
    seeds, rows = parse_seeds(arguments.seeds), parse_rows(arguments.only)
    source = ["data.source=drawn"] if arguments.data == "drawn" else [f"data.path={arguments.data}", "data.source=real"]
    config_path = arguments.config or Path(DEFAULT_CONFIG)
    base = load_config(EncoderConfig, config_path, [*arguments.overrides, *source])
    if arguments.print_config:
        print(to_yaml(base), end="")
        return 0
    from encoder.ablation_runs import AblationRuns
    from encoder.ablation_table import write_table

    runs = AblationRuns(base, arguments.out, arguments.data)
    for variant in rows:
        for seed in seeds:
            code = runs.make(variant, seed)
            if code:
                return code
    table, written = write_table(rows, seeds, runs, arguments.out, argv)
    print(table)
    print(f"\nwritten: {', '.join(str(path) for path in written)}")
    return 0


def parse_seeds(text: str) -> list[int]:
    """The whole numbers of a list such as ``0,1,2``.

    Raises:
        UserError: something else, or a seed twice.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts) or len(set(parts)) < len(parts):
        raise UserError(f"--seeds {text}: give different whole numbers separated by commas, such as 0,1,2")
    return [int(part) for part in parts]


def parse_rows(text: str | None) -> list[Variant]:
    """The rows named in a list such as ``stage-1,crt``, in the order of the table; all for None.

    Raises:
        UserError: a name that no row has.
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


def cli() -> None:
    """Entry point."""
    run(main)


if __name__ == "__main__":
    cli()
