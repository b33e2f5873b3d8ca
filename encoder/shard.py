"""``python -m encoder.shard``: write a data set of faces as tar shards, for training on more faces than memory holds."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from configs.cli import UserError, command, command_parser

if TYPE_CHECKING:
    from encoder.data.face_set import FaceSet

_EPILOG = """\
DATA is what python -m encoder.prepare reads: FER-2013 as Parquet or CSV, or folders of pictures by emotion; or "drawn".
Written are OUT/train-000000.tar ..., OUT/valid-000000.tar ..., each with its index of bytes beside it (*.tar.index.json).

examples:
  python -m encoder.shard data/fer2013 --out shards/fer2013
  python -m encoder.shard drawn --count 100000 --size 64 --out shards/drawn
  accelerate launch vqvae/train.py faces.source=shards faces.shards=shards/drawn

Tars that WebDataset wrote need not be written again: name their folder, or its URL, in faces.shards.
"""


def _parser() -> argparse.ArgumentParser:
    parser = command_parser("python -m encoder.shard", __doc__, _EPILOG)
    parser.add_argument("data", metavar="DATA", help='a data set, or "drawn"')
    parser.add_argument("--out", type=Path, required=True, help="folder for the shards")
    parser.add_argument("--size", type=int, default=64, help="side of the faces in pixels (default %(default)s)")
    parser.add_argument("--per-shard", type=int, default=4096, help="faces in a shard (default %(default)s)")
    parser.add_argument("--count", type=int, default=8000, help="drawn training faces (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of drawn faces (default %(default)s)")
    parser.add_argument("--on-error", choices=("skip", "refuse"), default="refuse", help="broken rows (default %(default)s)")
    return parser


def main(argv: Sequence[str]) -> int:
    """Write the shards of train and valid; returns 0.

    Raises UserError: the data set is refused, or shards exist already or cannot be written.
    """
    arguments = _parser().parse_args(argv)
    for name in ("size", "per_shard", "count"):
        if getattr(arguments, name) < 1:
            raise UserError(f"--{name.replace('_', '-')}: must be positive, got {getattr(arguments, name)}")
    from tqdm import tqdm

    from encoder.data.shard_writer import write_shards

    for split in ("train", "valid"):
        lots = _drawn(arguments, split) if arguments.data == "drawn" else [_loaded(arguments, split)]
        pairs = (zip(lot.images, lot.distributions().tolist(), strict=True) for lot in lots)
        bar = tqdm(chain.from_iterable(pairs), desc=split, unit="face", delay=1, disable=None)
        written = write_shards(arguments.out, split, bar, per_shard=arguments.per_shard)
        size = sum(path.stat().st_size for path in written)
        print(f"{split}: {sum(written.values()):,} faces in {len(written)} shard(s), {size:,} bytes")
    return 0


def _loaded(arguments: argparse.Namespace, split: str) -> FaceSet:
    from encoder.data.load import load_faces

    return load_faces(Path(arguments.data).expanduser(), split, on_error=arguments.on_error, size=arguments.size)  # type: ignore[arg-type]


def _drawn(arguments: argparse.Namespace, split: str) -> Iterator[FaceSet]:
    """Drawn in lots, so that any number of them fits into memory."""
    from encoder.drawing.faces import drawn_set

    left, lot = arguments.count if split == "train" else max(arguments.count // 10, 64), 0
    while left:
        number = min(left, 4096)
        # No lot of one seed is a lot of another.
        yield drawn_set(split, number, seed=1_000_003 * arguments.seed + lot, size=arguments.size)  # type: ignore[arg-type]
        left, lot = left - number, lot + 1


cli = command(main)


if __name__ == "__main__":
    cli()
