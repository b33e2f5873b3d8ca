"""Judge a gender classifier on a split of faces128 that shares nobody with its training: table and ``gender.json``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from configs.cli import add_overwrite, command, command_parser

EXAMPLES = """examples:
  python -m encoder.evaluate_gender --data DATA                                  the shipped classifier, test split
  python -m encoder.evaluate_gender --data DATA --weights runs/gender/weights --split valid
  python -m encoder.evaluate_gender --data DATA --weights deepface               DeepFace's, downloaded at first use

DATA is the folder that holds faces.parquet of faces128. Every face is judged twice: as it is, and cut to its central
80 %, which is about as tight as FER-2013. DeepFace's network may have seen the people of faces128."""


def build_parser() -> argparse.ArgumentParser:
    """The command line; imports nothing heavy."""
    parser = command_parser("python -m encoder.evaluate_gender", __doc__, EXAMPLES)
    parser.add_argument("--data", required=True, help="folder that holds faces.parquet")
    parser.add_argument("--weights", default="pretrained/gender", help="a folder, or deepface (default: %(default)s)")
    parser.add_argument("--split", choices=("train", "valid", "test"), default="test", help="default: %(default)s")
    parser.add_argument("--split-seed", type=int, default=0, help="data.split_seed of the training (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="folder for gender.json (default: out/evaluation-gender-SPLIT)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: %(default)s")
    add_overwrite(parser)
    return parser


def main(argv: Sequence[str]) -> int:
    """Evaluate, print the table and write the file; exit code 0."""
    arguments = build_parser().parse_args(argv)
    from encoder.people.gender import create_gender
    from encoder.people.gender_assessment import assess_gender, format_table
    from encoder.people.gender_data import load_gendered
    from engine.storage.atomic import require_new, write_json

    out = arguments.out or Path("out") / f"evaluation-gender-{arguments.split}"
    require_new([out / "gender.json"], arguments.overwrite)
    model = create_gender(arguments.weights, device=arguments.device)
    path = Path(arguments.data).expanduser()
    faces = load_gendered(path, arguments.split, seed=arguments.split_seed, size=128)
    report = {"weights": arguments.weights, "split": arguments.split, "split_seed": arguments.split_seed}
    report |= assess_gender(model, faces)
    write_json(out / "gender.json", report)
    print(format_table(report))
    print(f"\nwritten: {out / 'gender.json'}")
    return 0


cli = command(main)


if __name__ == "__main__":
    cli()
