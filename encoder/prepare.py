"""``python -m encoder.prepare``: check a data set of faces, say what is in it, and write it as Parquet if asked."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from configs.cli import UserError, run
from encoder.datasets import load_faces
from encoder.duplicates import count_duplicates
from encoder.emotions import EMOTION_NAMES, FERPLUS_NAMES
from encoder.face_parquet import new_split_files, write_parquet_splits
from encoder.face_set import FER_SIZE, SPLITS, FaceSet, Split
from engine.storage.atomic import _write_json

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

exit code: 0 nothing is wrong, 1 some rows or files were skipped, 2 refused.
Duplicates are reported and kept; they do not change the exit code.
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m encoder.prepare",
        description="Check a data set of faces and print what it holds; optionally write it as Parquet.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
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
    """Run the command; returns 0 (clean) or 1 (problems skipped).

    Raises:
        UserError: the data set or an output is refused.
    """
    args = _parser().parse_args(argv)
    if args.write is not None:
        new_split_files(args.write, SPLITS)  # refused now, not after minutes of reading
    splits = {split: load_faces(args.path, split, on_error=args.on_error, size=args.size) for split in SPLITS}
    if not any(len(faces) for faces in splits.values()):
        raise UserError(f"{args.path}: holds no readable face; {_first_problem(splits)}")
    facts = report(splits)
    print(table(facts))
    # Data first: the report may be made again in seconds.
    if args.write is not None:
        for path in write_parquet_splits(args.write, splits):
            print(f"wrote {path}")
    if args.json is not None:
        _write_json(args.json, {"path": str(args.path), **facts})
        print(f"wrote {args.json}")
    return 1 if facts["problems"] else 0


def report(splits: Mapping[Split, FaceSet]) -> dict[str, Any]:
    """What the splits hold, as plain values for JSON.

    Keys: ``source``, ``size``, ``faces``, ``labels`` and ``majority`` (counts per split and class), ``voted`` (faces
    with FER+ votes that are left by its protocol), ``duplicates`` (per ordered pair of splits), ``notes`` and
    ``problems`` (one line each).
    """
    first = next(iter(splits.values()))
    return {
        "source": first.source,
        "size": int(first.images.shape[1]),
        "faces": {split: len(faces) for split, faces in splits.items()},
        "labels": {split: _counts(faces.labels, (*EMOTION_NAMES, "unknown")) for split, faces in splits.items()},
        "voted": {split: int((faces.votes.sum(axis=1) > 0).sum()) for split, faces in splits.items()},
        "majority": {split: _counts(faces.majority(), (*FERPLUS_NAMES, "none")) for split, faces in splits.items()},
        "duplicates": [
            {
                "split": d.split,
                "other": d.other,
                "faces": d.faces,
                "labels_agree": d.agreeing,
                "labels_differ": d.differing,
            }
            for d in count_duplicates(splits)
        ],
        # A row whose split is unreadable is reported by every split: once is enough.
        "notes": list(dict.fromkeys(note for faces in splits.values() for note in faces.notes)),
        "problems": list(dict.fromkeys(line for faces in splits.values() for line in faces.problems)),
    }


def _counts(classes: Any, names: Sequence[str]) -> dict[str, int]:
    """Count of each class; the last name takes those of index -1."""
    counted = np.bincount(np.asarray(classes, np.int64) % len(names), minlength=len(names))
    return dict(zip(names, counted.tolist(), strict=True))


def table(facts: Mapping[str, Any]) -> str:
    """The report for people to read."""
    splits = list(facts["faces"])
    lines = [f"{facts['source']}: {sum(facts['faces'].values()):,} faces of {facts['size']}x{facts['size']} pixels", ""]

    def row(title: str, cells: Mapping[str, int | str]) -> None:
        shown = (f"{cells[split]:,}" if isinstance(cells[split], int) else str(cells[split]) for split in splits)
        lines.append(f"{title:<26}" + "".join(f"{cell:>10}" for cell in shown))

    row("label", {split: split for split in splits})
    for name in (*EMOTION_NAMES, "unknown"):
        cells = {split: facts["labels"][split][name] for split in splits}
        if name != "unknown" or any(cells.values()):
            row(f"  {name}", cells)
    row("  all", facts["faces"])
    lines.append("")
    if any(facts["voted"].values()):
        row("FER+ votes", {split: split for split in splits})
        row("  faces with usable votes", facts["voted"])
        for name in FERPLUS_NAMES:
            row(f"  majority {name}", {split: facts["majority"][split][name] for split in splits})
        kept = {split: facts["faces"][split] - facts["majority"][split]["none"] for split in splits}
        row("  majority of any class", kept)
    else:
        lines.append("FER+ votes: none")
    lines += ["", f"{'pixel-identical faces':<26}{'faces':>10}{'same label':>12}{'other label':>12}"]
    for found in facts["duplicates"]:
        inside = found["split"] == found["other"]
        title = f"  twice within {found['split']}" if inside else f"  {found['split']}, twin in {found['other']}"
        lines.append(f"{title:<26}{found['faces']:>10,}{found['labels_agree']:>12,}{found['labels_differ']:>12,}")
    lines += ["", *(f"note: {note}" for note in facts["notes"])]
    problems = facts["problems"]
    lines.append(f"skipped: {len(problems):,} rows or files" if problems else "no unreadable rows or files")
    lines += [f"  {line}" for line in problems[:_SHOWN_PROBLEMS]]
    if len(problems) > _SHOWN_PROBLEMS:
        lines.append(f"  ... and {len(problems) - _SHOWN_PROBLEMS:,} more (--json FILE lists all)")
    return "\n".join(lines)


def _first_problem(splits: Mapping[Split, FaceSet]) -> str:
    problems = [line for faces in splits.values() for line in faces.problems]
    return f"first of {len(problems)} problems: {problems[0]}" if problems else "it is empty"


def cli() -> None:
    """Entry point of the command."""
    run(main)


if __name__ == "__main__":
    cli()
