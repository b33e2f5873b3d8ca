"""Which part of the training makes the encoder right about neglected emotions: one table, several seeds."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from configs.cli import command, command_parser
from configs.loader import add_config_arguments, asked_config
from encoder.experiments.ablation_rows import VARIANTS, parse_rows, parse_seeds

EXAMPLES = """examples:
  python -m encoder.ablation --data DATA --out out/ablation
  python -m encoder.ablation --data DATA --seeds 0,1,2,3,4 --only cross-entropy,stage-1,crt
  python -m encoder.ablation --data DATA train.epochs=60 'model.widths=[64,128,256]' --out out/ablation-full

Every row is the configuration with a few settings changed, trained from scratch or from the weights of the row that it
names, with each seed. Only the temperature is fitted on valid; prior correction is part of a row or absent. What is
finished is kept: give the same command again to go on after Ctrl-C. Written: table.md, table.csv, ablation.json, and under
runs/ every run with its weights. Figures are of the FER-2013 head on test, and on valid beside it."""

DEFAULT_CONFIG = "configs/encoder/ablation.yaml"


def build_parser() -> argparse.ArgumentParser:
    """The command line; imports nothing heavy."""
    parser = command_parser("python -m encoder.ablation", __doc__, EXAMPLES)
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
    drawn = arguments.data == "drawn"
    source = {"data.source": "drawn"} if drawn else {"data.path": arguments.data, "data.source": "real"}
    base = asked_config(EncoderConfig, arguments, DEFAULT_CONFIG, source)
    from encoder.experiments.ablation_runs import AblationRuns
    from encoder.experiments.ablation_table import write_table

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


cli = command(main)


if __name__ == "__main__":
    cli()
