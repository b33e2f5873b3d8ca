"""Judge an encoder on a labelled split: table on the screen, ``evaluation.json`` and confusion matrices as PNG."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from configs.cli import UserError, run

EXAMPLES = """examples:
  python -m encoder.evaluate --data DATA                               shipped encoder, FER-2013 test split
  python -m encoder.evaluate --data DATA --weights pretrained/judge    the second judge
  python -m encoder.evaluate --data DATA --split valid --weights runs/encoder/weights --out runs/encoder/evaluation
  python -m encoder.evaluate --data drawn --weights runs/encoder/weights

DATA is a folder with FER-2013 in any of its forms (python -m encoder.prepare checks it); "drawn" are the faces that
the project draws itself. Twins are test faces that also stand in train, pixel for pixel; figures without them are given
beside the full ones. Logits are averaged over each face and its mirror image."""


def build_parser() -> argparse.ArgumentParser:
    """The command line; imports nothing heavy."""
    parser = argparse.ArgumentParser(
        prog="python -m encoder.evaluate",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", required=True, help='folder with FER-2013, or "drawn"')
    parser.add_argument("--weights", default="pretrained/encoder", help="folder with the weights (default: %(default)s)")
    parser.add_argument("--split", choices=("train", "valid", "test"), default="test", help="default: %(default)s")
    parser.add_argument("--out", type=Path, help="folder for the files (default: evaluation/ beside the weights' run)")
    parser.add_argument("--on-error", choices=("refuse", "skip"), default="refuse", help="what to do with broken rows")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--json", action="store_true", help="print the JSON instead of the table")
    return parser


def main(argv: Sequence[str]) -> int:
    """Evaluate and write the files; exit code 0."""
    arguments = build_parser().parse_args(argv)
    import json

    from encoder.assessment import assess, draw_confusions, format_table
    from encoder.atomic import atomic_write_text
    from encoder.classifier import EmotionEncoder
    from encoder.devices import resolve_device

    encoder = EmotionEncoder.from_pretrained(resolve_folder(arguments.weights))
    encoder.to(resolve_device(arguments.device))
    faces, train = _load(arguments, encoder.preprocessing.size)
    report = assess(encoder, faces, train, split=arguments.split, weights=arguments.weights)
    out = arguments.out or Path("out") / f"evaluation-{Path(arguments.weights).name}-{arguments.split}"
    out.mkdir(parents=True, exist_ok=True)
    atomic_write_text(out / "evaluation.json", json.dumps(report, indent=2) + "\n")
    pictures = draw_confusions(report, out)
    if arguments.json:
        print(json.dumps(report, indent=2))
    else:
        print(format_table(report))
        print(f"\nwritten: {', '.join(str(path) for path in (out / 'evaluation.json', *pictures))}")
    for problem in faces.problems:
        print(f"skipped {problem}", file=sys.stderr)
    return 0


def resolve_folder(name: str) -> Path:
    """A weights folder given by path, or by its place under the installed project (``pretrained/encoder``).

    Raises:
        UserError: no such folder in either place.
    """
    for folder in (Path(name), Path(__file__).resolve().parents[1] / name):
        if folder.is_dir():
            return folder
    raise UserError(f"{name}: no such folder; give one that holds config.json and model.safetensors")


def _load(arguments: argparse.Namespace, size: int):  # type: ignore[no-untyped-def]
    """(faces of the split, faces of train or None): train is needed to find twins."""
    from encoder.datasets import load_faces

    if arguments.data == "drawn":
        from encoder.drawn import drawn_set

        return drawn_set(arguments.split, 3500, seed=0, size=size), None
    path = Path(arguments.data).expanduser()
    faces = load_faces(path, arguments.split, on_error=arguments.on_error, size=size)
    if arguments.split == "train":
        return faces, None
    return faces, load_faces(path, "train", on_error=arguments.on_error, size=size)


def cli() -> None:
    """Entry point."""
    run(main)


if __name__ == "__main__":
    cli()
