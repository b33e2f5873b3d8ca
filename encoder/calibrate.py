"""Fit the calibration of a trained encoder again, on the valid split of a data set; the weights stay as they are."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from configs.cli import command, command_parser

EXAMPLES = """examples:
  python -m encoder.calibrate --data DATA --weights runs/encoder/weights --out runs/encoder/calibrated
  python -m encoder.calibrate --data MY_FACES --weights pretrained/encoder --out my_encoder"""


def build_parser() -> argparse.ArgumentParser:
    """The command line; imports nothing heavy."""
    parser = command_parser("python -m encoder.calibrate", __doc__, EXAMPLES)
    parser.add_argument("--data", required=True, help="folder with FER-2013 in any of its forms")
    parser.add_argument("--weights", default="pretrained/encoder", help="default: %(default)s")
    parser.add_argument("--out", type=Path, required=True, help="folder for the calibrated encoder")
    return parser


def main(argv: Sequence[str]) -> int:
    """Fit and write; returns the exit code."""
    arguments = build_parser().parse_args(argv)
    from encoder.data.load import load_faces
    from encoder.fitting.calibration import calibrate
    from encoder.inference.emotion_encoder import KIND, EmotionEncoder
    from engine.storage.weights import OPTIONAL_KEYS, read_config, resolve_folder

    folder = resolve_folder(arguments.weights)
    stored = read_config(folder, KIND)
    encoder = EmotionEncoder.from_pretrained(folder)
    size, path = encoder.preprocessing.size, Path(arguments.data).expanduser()
    encoder.calibration = calibrate(encoder, load_faces(path, "train", size=size), load_faces(path, "valid", size=size))
    notes = {key: stored[key] for key in OPTIONAL_KEYS if key in stored and key not in ("preprocessing", "calibration")}
    encoder.save_pretrained(arguments.out, **notes)
    for head, fitted in encoder.calibration.heads.items():
        print(f"{head}: tau {fitted.tau}, temperature {fitted.temperature}")
    print(f"written to {arguments.out}")
    return 0


cli = command(main)


if __name__ == "__main__":
    cli()
