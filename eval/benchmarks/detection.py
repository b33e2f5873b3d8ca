"""In how many pictures of one face each detector finds a face, how many pass for crops of a face, and what that costs."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from configs.cli import UserError, command, command_parser
from encoder.detection.registry import DEFAULT_DETECTOR, create_detector
from encoder.detection.whole import is_crop

EXAMPLES = """examples:
  python -m eval.benchmarks.detection photos/
  python -m eval.benchmarks.detection data/fer2013plus/valid.parquet --first 400 --detectors centerface haar

  python -m eval.benchmarks.detection photos/ --side 128

PICTURES is a folder, or a Parquet file with a column image (bytes, or bytes in a struct). Every picture should show one
face: more than one found is counted as well. Crops are the pictures that encoder.analyze would read whole. Time is that of
this process on its cores, so that other work on the machine changes it little; it holds no reading of files."""


def build_parser() -> argparse.ArgumentParser:
    """The command line; imports nothing heavy."""
    parser = command_parser("python -m eval.benchmarks.detection", __doc__, EXAMPLES)
    parser.add_argument("pictures", metavar="PICTURES", type=Path, help="a folder or a Parquet file")
    parser.add_argument("--detectors", nargs="+", metavar="NAME", default=[DEFAULT_DETECTOR, "haar"], help="default: %(default)s")
    parser.add_argument("--first", type=int, metavar="N", help="only the first N pictures (default: all)")
    parser.add_argument("--side", type=int, metavar="N", help="shrink pictures whose longer side has more pixels")
    return parser


def main(argv: Sequence[str]) -> int:
    """Print one line of a table for each detector."""
    arguments = build_parser().parse_args(argv)
    if arguments.first is not None and arguments.first < 1:
        raise UserError(f"--first must be at least 1, got {arguments.first}")
    from tqdm import tqdm

    from engine.threads import free_threads, use_threads

    threads = use_threads(free_threads())
    detectors = {name: create_detector(name) for name in arguments.detectors}
    if arguments.side is not None and arguments.side < 1:
        raise UserError(f"--side must be at least 1, got {arguments.side}")
    found: dict[str, list[int]] = {name: [] for name in detectors}
    crops = dict.fromkeys(detectors, 0)
    seconds = dict.fromkeys(detectors, 0.0)
    bar = tqdm(_pictures(arguments.pictures), total=arguments.first, unit="picture", delay=1, leave=False, disable=None)
    for number, picture in enumerate(bar):
        if number == arguments.first:
            break
        picture = picture if arguments.side is None else _shrunk(picture, arguments.side)
        for name, detector in detectors.items():
            started = time.process_time()
            faces = detector.detect(picture)
            seconds[name] += time.process_time() - started
            found[name].append(len(faces))
            crops[name] += is_crop(picture, faces)
    total = len(next(iter(found.values())))
    if not total:
        raise UserError(f"{arguments.pictures}: holds no picture")
    print(f"{arguments.pictures.name}, {total} pictures, {threads} thread(s)\n")
    print("| detector | a face found | more than one | taken for a crop | milliseconds of a core |\n|---|---|---|---|---|")
    for name, counts in found.items():
        some, several = (sum(count >= least for count in counts) for least in (1, 2))
        print(f"| {name} | {some} ({some / total:.1%}) | {several} | {crops[name]} | {1000 * seconds[name] / total:.0f} |")
    return 0


def _pictures(place: Path) -> Iterator[NDArray[np.uint8]]:
    """(H, W, 3) RGB, in the order of the files or rows."""
    from encoder.pictures.pictures import read_picture
    from encoder.pictures.sources import find_files

    if place.suffix != ".parquet":
        for name in find_files([place]).files:
            yield read_picture(name).pixels
        return
    import io

    import pyarrow as pa
    import pyarrow.parquet as pq
    from PIL import Image

    try:
        with pq.ParquetFile(place) as table:
            for rows in table.iter_batches(64, columns=["image"]):
                for value in rows.column("image").to_pylist():
                    file = io.BytesIO(value["bytes"] if isinstance(value, dict) else value)
                    yield np.asarray(Image.open(file).convert("RGB"))
    except (OSError, KeyError, TypeError, pa.ArrowException) as error:
        raise UserError(f"{place}: not a Parquet file with pictures in a column image ({error})") from None


def _shrunk(picture: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    from PIL import Image

    image = Image.fromarray(picture)
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    return np.asarray(image)


cli = command(main)


if __name__ == "__main__":
    cli()
