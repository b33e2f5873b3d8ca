"""Train an emotion encoder: ``accelerate launch encoder/train.py`` or ``python -m encoder.train``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

if __package__ in (None, ""):
    # Run as a script, sys.path[0] is this folder: its files would shadow the standard library, its package be missing.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from configs.cli import command, command_parser
from configs.loader import add_run_arguments, asked_config

EXAMPLES = """examples:
  python -m encoder.train --out runs/encoder                                      drawn faces, a few minutes
  python -m encoder.train --config configs/encoder/base.yaml data.path=DATA --out runs/encoder
  python -m encoder.train --config configs/encoder/judge.yaml data.path=DATA --max-minutes 20 --out runs/judge
  python -m encoder.train --config configs/encoder/base.yaml data.path=DATA --out runs/encoder --resume latest
  python -m encoder.train --config configs/encoder/ladder/conv4-100.yaml data.path=DATA --out runs/conv4-100
  python -m encoder.train --config configs/encoder/ladder/landmarks-svc.yaml data.path=DATA --out runs/landmarks-svc

DATA is a folder with FER-2013 in any of its forms: see python -m encoder.prepare --help.
exit codes: 0 done, 2 bad input, 130 stopped by Ctrl-C and 143 by SIGTERM (both resumable)."""


def build_parser() -> argparse.ArgumentParser:
    """The command line; imports nothing heavy."""
    parser = command_parser("encoder.train", __doc__, EXAMPLES)
    add_run_arguments(parser, "runs/encoder")
    return parser


def main(argv: Sequence[str]) -> int:
    """Parse, train, write ``weights/`` into the run directory."""
    from encoder.config import EncoderConfig

    arguments = build_parser().parse_args(argv)
    options = {"train.max_minutes": arguments.max_minutes}
    config = asked_config(EncoderConfig, arguments, "configs/encoder/drawn.yaml", options)
    if config.model.name.startswith("landmarks"):
        from encoder.landmarks.fit import fit_landmarks

        return fit_landmarks(config, arguments.out, arguments.resume)
    from encoder.fitting.fit import fit_encoder

    return fit_encoder(config, arguments.out, arguments.resume)


cli = command(main)


if __name__ == "__main__":
    cli()
