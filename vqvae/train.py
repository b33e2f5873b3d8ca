"""Train the tokenizer and the emotion-conditioned prior: ``accelerate launch vqvae/train.py``."""

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
from engine.training.stop_request import GO_ON

DEFAULT_CONFIG = "configs/vqvae/drawn.yaml"
EXAMPLES = """examples:
  accelerate launch vqvae/train.py                                   both stages on drawn faces, a few minutes
  accelerate launch vqvae/train.py --config configs/vqvae/base.yaml faces.fer2013=DATA --out runs/faces
  accelerate launch vqvae/train.py --config configs/vqvae/base.yaml faces.fer2013=DATA --out runs/faces --resume latest
  accelerate launch vqvae/train.py --config configs/vqvae/base.yaml faces.fer2013=DATA --stage prior --max-minutes 60
  accelerate launch vqvae/train.py --config configs/vqvae/base.yaml faces.source=shards faces.shards=FOLDER_OR_URL

DATA is a folder with FER-2013 in any of its forms: see python -m encoder.prepare --help; shards: python -m encoder.shard --help.
GPUs, several processes, many machines: configs/accelerate/ and docs/how_to/training/train_on_larger_machines.md.
--max-minutes is shared by the stages that run, in the proportion of their max_minutes in the configuration (else evenly).
exit codes: 0 done, 2 bad input, 130 stopped by Ctrl-C and 143 by SIGTERM (both resumable)."""


def build_parser() -> argparse.ArgumentParser:
    """The command line; imports nothing heavy."""
    parser = command_parser("vqvae/train.py", __doc__, EXAMPLES)
    add_run_arguments(parser, "runs/vqvae")
    parser.add_argument(
        "--stage",
        choices=("both", "tokenizer", "prior", "decoder", "critic", "critic_judge"),
        default="both",
        help="default: %(default)s",
    )
    return parser


def main(argv: Sequence[str], *, go_on: str = GO_ON) -> int:
    """Parse and train; returns the exit code. Whoever stops it is told to ``go_on``."""
    from vqvae.config import VqvaeConfig

    arguments = build_parser().parse_args(argv)
    config = asked_config(VqvaeConfig, arguments, DEFAULT_CONFIG)
    from vqvae.stages import train_stages

    return train_stages(config, arguments, go_on=go_on)


cli = command(main)


if __name__ == "__main__":
    cli()
