"""Train the gender classifier on faces128: ``python -m encoder.train_gender``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from configs.cli import command, command_parser
from configs.loader import add_run_arguments, asked_config

EXAMPLES = """examples:
  python -m encoder.train_gender --data DATA --out runs/gender
  python -m encoder.train_gender --data DATA --out runs/gender --resume latest
  python -m encoder.train_gender --data DATA --out runs/short --max-minutes 3 train.seed=1

DATA is the folder that holds faces.parquet of faces128. Judge the result with python -m encoder.evaluate_gender.
exit codes: 0 done, 2 bad input, 130 stopped by Ctrl-C and 143 by SIGTERM (both resumable)."""


def build_parser() -> argparse.ArgumentParser:
    """The command line; imports nothing heavy."""
    parser = command_parser("python -m encoder.train_gender", __doc__, EXAMPLES)
    add_run_arguments(parser, "runs/gender")
    parser.add_argument("--data", help="folder that holds faces.parquet; the same as data.path=FOLDER")
    return parser


def main(argv: Sequence[str]) -> int:
    """Parse, train, write ``weights/`` into the run directory."""
    from encoder.people.gender_config import GenderConfig

    arguments = build_parser().parse_args(argv)
    options = {"data.path": arguments.data, "train.max_minutes": arguments.max_minutes}
    config = asked_config(GenderConfig, arguments, "configs/encoder/gender.yaml", options)
    from encoder.people.gender_fit import fit_gender

    return fit_gender(config, arguments.out, arguments.resume)


cli = command(main)


if __name__ == "__main__":
    cli()
