"""``python -m encoder.prepare``: check a data set of faces, say what is in it, and write it as Parquet if asked."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from configs.cli import UserError, command, command_parser
from encoder.data.face_parquet import new_split_files, write_parquet_splits
from encoder.data.face_set import FER_SIZE, SPLITS
from encoder.data.inventory import report, table
from encoder.data.load import load_faces
from engine.storage.atomic import atomic_write_text

_EPILOG = """\
PATH is one of
  a folder with train.parquet, valid.parquet and test.parquet
  fer2013.csv or icml_face_data.csv, or the folder that holds it (fer2013new.csv beside it adds FER+ votes)
  a folder with train/<emotion>/*.jpg and test/<emotion>/*.jpg; without valid/ a tenth of train is held out

examples:
  python -m encoder.prepare data/fer2013.csv
  python -m encoder.prepare data/fer2013 --on-error refuse
  python -m encoder.prepare photos/ --size 48 --write data/photos --json data/photos.json

exit code: 0 nothing is wrong, 1 some rows or files were skipped, 2 refused.
Duplicates are reported and kept; they do not change the exit code.
"""


def _parser() -> argparse.ArgumentParser:
    parser = command_parser(
        "python -m encoder.prepare", "Check a data set of faces and print what it holds; optionally write it as Parquet.", _EPILOG
    )
    parser.add_argument("path", metavar="PATH", type=Path, help="the data set")
    parser.add_argument("--size", type=int, default=FER_SIZE, help="side of the faces in pixels (default %(default)s)")
    parser.add_argument(
        "--on-error",
        choices=("skip", "refuse"),
        default="skip",
        help="skip and list broken rows and files, or stop at the first (default %(default)s)",
    )
    parser.add_argument("--write", metavar="OUT", type=Path, help="write train/valid/test.parquet into this folder")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the report as JSON")
    return parser


def main(argv: Sequence[str]) -> int:
    """Run the command; returns 0 (clean) or 1 (problems skipped). Raises UserError: the data set or an output is refused."""
    args = _parser().parse_args(argv)
    if args.write is not None:
        new_split_files(args.write, SPLITS)  # refused now, not after minutes of reading
    splits = {split: load_faces(args.path, split, on_error=args.on_error, size=args.size) for split in SPLITS}
    if not any(len(faces) for faces in splits.values()):
        problems = [line for faces in splits.values() for line in faces.problems]
        reason = f"first of {len(problems)} problems: {problems[0]}" if problems else "it is empty"
        raise UserError(f"{args.path}: holds no readable face; {reason}")
    facts = report(splits)
    print(table(facts))
    # Data first: the report may be made again in seconds.
    if args.write is not None:
        for path in write_parquet_splits(args.write, splits):
            print(f"wrote {path}")
    if args.json is not None:
        atomic_write_text(args.json, json.dumps({"path": str(args.path), **facts}, indent=2, ensure_ascii=False) + "\n")
        print(f"wrote {args.json}")
    return 1 if facts["problems"] else 0


cli = command(main)


if __name__ == "__main__":
    cli()
