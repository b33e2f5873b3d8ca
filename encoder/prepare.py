"""``python -m encoder.prepare``: check a data set of faces and say what is in it; write it as Parquet, aligned if asked."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from configs.cli import UserError, add_overwrite, command, command_parser
from configs.loader import validate
from encoder.config import CropConfig
from encoder.data.face_parquet import new_split_files, write_parquet_splits
from encoder.data.face_set import FER_SIZE, SPLITS
from encoder.data.inventory import report, table
from encoder.data.load import load_faces
from engine.storage.atomic import atomic_write_text, draft, make_folder, require_new, write_json

_READ = CropConfig()
_SHOWN_PROBLEMS = 20

_EPILOG = """\
PATH is one of
  a folder with train.parquet, valid.parquet and test.parquet
  fer2013.csv or icml_face_data.csv, or the folder that holds it (fer2013new.csv beside it adds FER+ votes)
  a folder with train/<emotion>/*.jpg and test/<emotion>/*.jpg; without valid/ a tenth of train is held out

examples:
  python -m encoder.prepare data/fer2013.csv
  python -m encoder.prepare data/fer2013 --on-error refuse
  python -m encoder.prepare photos/ --size 48 --write data/photos --json data/photos.json
  python -m encoder.prepare data/fer2013 --align data/fer2013_aligned
  python -m encoder.prepare data/colour --align data/colour_64 --eyes 0.36 0.34 --size 64 --colour

--align finds the face in every picture, turns, scales and shifts it until the eyes lie where --eyes says, and writes a copy
with all columns and found, score and points (eyes, nose, corners of the mouth, as shares of the crop's side). PATH may then
be any Parquet with a column image, too: train, valid, test or faces.parquet. OUT gets aligned.json and, for people who may
see the faces, doubtful_*.png. Stopped and started again, it goes on with the next split.

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
    parser.add_argument("--align", metavar="OUT", type=Path, help="write an aligned copy into this folder")
    parser.add_argument(
        "--eyes",
        metavar=("DISTANCE", "HEIGHT"),
        nargs=2,
        type=float,
        help=f"with --align: shares of the side at which eyes lie (default {_READ.eye_distance} {_READ.eye_height})",
    )
    parser.add_argument("--colour", action="store_true", help="with --align: keep colour (default: grey)")
    parser.add_argument("--found-only", action="store_true", help="with --align: leave out faces that are not found")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the report as JSON")
    add_overwrite(parser)
    return parser


def main(argv: Sequence[str]) -> int:
    """Run the command; returns 0 (clean) or 1 (problems skipped). Raises UserError: the data set or an output is refused."""
    args = _parser().parse_args(argv)
    require_new([args.json], args.overwrite, "--json")
    if args.align is not None:
        return _align(args)
    for name in ("eyes", "colour", "found_only"):
        if getattr(args, name):
            raise UserError(f"--{name.replace('_', '-')} is for an aligned copy; add --align OUT")
    if args.write is not None:
        new_split_files(args.write, SPLITS)  # refused now, not after minutes of reading
    splits = {split: load_faces(args.path, split, on_error=args.on_error, size=args.size) for split in SPLITS}
    if not any(len(faces) for faces in splits.values()):
        problems = [line for faces in splits.values() for line in faces.problems]
        more = f"first of {len(problems)} problems: " if len(problems) > 1 else ""
        reason = f"{more}{problems[0]}" if problems else "it is empty"
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


def _align(args: argparse.Namespace) -> int:
    from encoder.detection.aligned_copy import Alignment, finished, write_aligned
    from encoder.detection.aligned_report import align_table, contact_sheet
    from encoder.detection.centerface import CenterFaceDetector
    from encoder.detection.originals import find_originals

    if args.write is not None:
        raise UserError("--align writes a copy itself; leave out --write")
    if not 8 <= args.size <= 1024:
        raise UserError(f"--size must lie between 8 and 1024 pixels, got {args.size}")
    eyes = {} if args.eyes is None else dict(zip(("eye_distance", "eye_height"), args.eyes, strict=True))
    alignment = Alignment(validate(CropConfig, eyes, "--eyes"), args.size, args.colour, args.found_only)
    splits = find_originals(args.path, on_error=args.on_error)
    make_folder(args.align, "--align")
    targets = {split.name: args.align / f"{split.name}.parquet" for split in splits}
    facts = {split.name: finished(targets[split.name], alignment, split) for split in splits}
    detector = CenterFaceDetector()
    for split in splits:
        target = targets[split.name]
        if facts[split.name] is not None:
            print(f"kept {target}")
            continue
        tally = write_aligned(split, alignment, detector, target)
        facts[split.name] = finished(target, alignment, split)
        with draft(args.align / f"doubtful_{split.name}.png") as stream:
            contact_sheet(tally.doubtful, f"{split.name}: {tally.faces:,} faces").save(stream, "PNG")
        print(f"wrote {target}")
    done = {name: each for name, each in facts.items() if each is not None}
    print(align_table(done))
    problems = [line for each in done.values() for line in each["problems"]]
    print("\n".join([f"skipped: {line}" for line in problems[:_SHOWN_PROBLEMS]]) or "no unreadable rows or files")
    content = {"path": str(args.path), "eyes": [alignment.crop.eye_distance, alignment.crop.eye_height], "splits": done}
    for file in filter(None, (args.align / "aligned.json", args.json)):
        write_json(file, content)
        print(f"wrote {file}")
    return 1 if problems else 0


cli = command(main)


if __name__ == "__main__":
    cli()
