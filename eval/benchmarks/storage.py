"""What faces cost on disk and to read: bytes of pictures, tars and tables, and faces a second of one core."""

from __future__ import annotations

import argparse
import io
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from configs.cli import UserError, command, command_parser
from eval.benchmarks.harness import DEFAULT

EXAMPLES = """examples:
  python -m eval.benchmarks.storage data/fer2013
  python -m eval.benchmarks.storage data/fer2013 --size 128 --faces 20000

DATA is what python -m encoder.prepare reads; its valid split is taken, again and again up to --faces. Speeds are faces per
second of this process's time on a core, so that other work on the machine changes them little."""


def build_parser() -> argparse.ArgumentParser:
    parser = command_parser("python -m eval.benchmarks.storage", __doc__, EXAMPLES)
    parser.add_argument("data", metavar="DATA", type=Path, help="a data set")
    parser.add_argument("--size", type=int, default=64, help=f"side of the faces in pixels ({DEFAULT})")
    parser.add_argument("--faces", type=int, default=10000, help=f"in the shards ({DEFAULT})")
    parser.add_argument("--seed", type=int, default=0, help=f"of the order of reading ({DEFAULT})")
    return parser


def main(argv: Sequence[str]) -> int:
    """Write shards into a temporary folder, read them, print a line for each figure."""
    arguments = build_parser().parse_args(argv)
    if arguments.faces < 512:
        raise UserError(f"--faces {arguments.faces}: give at least 512, a batch")
    from PIL import Image

    from encoder.data.load import load_faces
    from encoder.data.shard_writer import write_shards
    from encoder.data.sharded_faces import open_shards
    from encoder.pictures.face_images import decode_face, png_bytes
    from engine.training.batches import GlobalBatches

    valid = load_faces(arguments.data.expanduser(), "valid", size=arguments.size)
    emotions, different = valid.distributions(), min(len(valid), 2000)
    print(f"valid split of {arguments.data.name}, {arguments.size} x {arguments.size}, seed {arguments.seed}")

    def jpeg(pixels: object) -> bytes:
        out = io.BytesIO()
        Image.fromarray(pixels).save(out, "JPEG", quality=90)  # type: ignore[arg-type]
        return out.getvalue()

    for name, encode in (("PNG", png_bytes), ("JPEG of quality 90", jpeg)):
        files = [encode(face) for face in valid.images[:400]]
        speed = _speed(lambda files=files: [decode_face(file, arguments.size) for file in files], len(files))  # type: ignore[misc]
        print(f"{name}: {sum(map(len, files)) / len(files):,.0f} bytes a picture, {speed:,.0f} decoded a second")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = ((valid.images[n % different], emotions[n % different].tolist()) for n in range(arguments.faces))
        tars = sum(path.stat().st_size for path in write_shards(folder, "train", source))
        indexes = sum(path.stat().st_size for path in folder.glob("*.json"))
        print(f"tar: {tars / arguments.faces:,.0f} bytes a face, its index {indexes / arguments.faces:,.0f}")

        def table(cache: str) -> None:
            open_shards(name, "train", size=arguments.size, cache=folder / cache)

        print(f"table from stored indexes: {_speed(lambda: table('one'), arguments.faces):,.0f} faces a second")
        for path in folder.glob("*.json"):
            path.unlink()
        print(f"table by scanning tars: {_speed(lambda: table('two'), arguments.faces):,.0f} faces a second")
        faces = open_shards(name, "train", size=arguments.size, cache=folder / "two")
        batches = GlobalBatches(len(faces), 512, seed=arguments.seed)
        speed = _speed(lambda: [faces.read(batches(step)[1]) for step in range(10)], 5120)
        print(f"read in random order and decoded: {speed:,.0f} faces a second")
    return 0


def _speed(function: Callable[[], object], count: int) -> float:
    started = time.process_time()
    function()
    return count / (time.process_time() - started)


cli = command(main)


if __name__ == "__main__":
    cli()
