"""Fit the calibration of a trained encoder again, on the valid split of a data set.

The weights stay as they are, or become the average of several trainings that started from one another: such an average is
often better than each of them (Wortsman et al., 2022, "Model soups").
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from configs.cli import add_overwrite, command, command_parser

EXAMPLES = """examples:
  python -m encoder.calibrate --data DATA --weights runs/encoder/weights --out runs/encoder/calibrated
  python -m encoder.calibrate --data MY_FACES --weights pretrained/encoder --out my_encoder
  python -m encoder.calibrate --data DATA --weights pretrained/encoder --average runs/student/weights --out runs/averaged
  python -m encoder.calibrate --data DATA --weights pretrained/encoder --average A --average B --shares 2 1 1 --out runs/mean"""


def build_parser() -> argparse.ArgumentParser:
    """The command line; imports nothing heavy."""
    parser = command_parser("python -m encoder.calibrate", __doc__, EXAMPLES)
    parser.add_argument("--data", required=True, help="folder with FER-2013 in any of its forms")
    parser.add_argument("--weights", default="pretrained/encoder", help="default: %(default)s")
    parser.add_argument(
        "--average", metavar="FOLDER", action="append", default=[], help="weights to average with --weights; may be repeated"
    )
    parser.add_argument(
        "--shares", metavar="SHARE", type=float, nargs="+", help="of --weights and each --average (default: all alike)"
    )
    parser.add_argument(
        "--crop",
        metavar=("DISTANCE", "HEIGHT"),
        type=float,
        nargs=2,
        help="where the eyes lie in the crops that were learnt from, as shares of the side (default: as stored)",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the calibrated encoder")
    add_overwrite(parser)
    return parser


def main(argv: Sequence[str]) -> int:
    """Fit and write; returns the exit code."""
    arguments = build_parser().parse_args(argv)
    from configs.loader import validate
    from encoder.config import CropConfig
    from encoder.data.load import load_faces
    from encoder.fitting.averaging import average
    from encoder.fitting.calibration import calibrate
    from encoder.inference.emotion_encoder import KIND, EmotionEncoder
    from engine.storage.atomic import require_new
    from engine.storage.weights import CONFIG_FILE, OPTIONAL_KEYS, read_config, resolve_folder

    require_new([arguments.out / CONFIG_FILE], arguments.overwrite)
    folders = [resolve_folder(name) for name in (arguments.weights, *arguments.average)]
    stored = read_config(folders[-1], KIND)
    encoder = average(folders, arguments.shares)
    if arguments.crop is not None:
        crop = validate(CropConfig, dict(zip(CropConfig.model_fields, arguments.crop, strict=True)), "--crop")
        encoder = EmotionEncoder(encoder.net, encoder.preprocessing.model_copy(update={"crop": crop}), encoder.calibration)
    size, path = encoder.preprocessing.size, Path(arguments.data).expanduser()
    encoder.calibration = calibrate(encoder, load_faces(path, "train", size=size), load_faces(path, "valid", size=size))
    # Of an average, what is known of the last training; its figures are not those of the average.
    left_out = ("preprocessing", "calibration", *(("metrics",) if arguments.average else ()))
    notes = {key: stored[key] for key in OPTIONAL_KEYS if key in stored and key not in left_out}
    encoder.save_pretrained(arguments.out, **notes)
    for head, fitted in encoder.calibration.heads.items():
        print(f"{head}: tau {fitted.tau}, temperature {fitted.temperature}")
    print(f"written to {arguments.out}")
    return 0


cli = command(main)


if __name__ == "__main__":
    cli()
