"""What reading many photographs costs a core: bytes, decoding, finding and reading faces."""

from __future__ import annotations

import argparse
import io
import tarfile
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.cli import UserError, command, command_parser
from encoder.detection.registry import DEFAULT_DETECTOR
from eval.benchmarks.harness import DEFAULT

if TYPE_CHECKING:
    from PIL.Image import Image

EXAMPLES = """examples:
  python -m eval.benchmarks.photographs --size 640
  python -m eval.benchmarks.photographs --photograph mine.jpg --size 1280 --weights pretrained/fast

One photograph, shifted by up to 32 pixels each time and stored as JPEG of quality 90, stands --photographs times in a Parquet
file and in a tar. Without --photograph it is the one of an astronaut that comes with scikit-image, with one face. Everything
runs with one thread. Speeds are photographs per second of this process's time on a core, so that other work on the machine
changes them little; time spent waiting for storage is not in them."""


def build_parser() -> argparse.ArgumentParser:
    parser = command_parser("python -m eval.benchmarks.photographs", __doc__, EXAMPLES)
    parser.add_argument("--photograph", type=Path, metavar="FILE", help="a photograph with faces")
    parser.add_argument("--photographs", type=int, default=200, help=f"in each shard ({DEFAULT})")
    parser.add_argument("--size", type=int, default=640, help=f"longer side in pixels ({DEFAULT})")
    parser.add_argument("--detector", default=DEFAULT_DETECTOR, metavar="NAME", help=f"finds the faces ({DEFAULT})")
    parser.add_argument("--weights", default="pretrained/encoder", metavar="FOLDER", help=f"read them ({DEFAULT})")
    parser.add_argument("--seed", type=int, default=0, help=f"of the shifts ({DEFAULT})")
    return parser


def main(argv: Sequence[str]) -> int:
    """Write shards into a temporary folder, read them, print a line for each figure."""
    arguments = build_parser().parse_args(argv)
    if arguments.photographs < 2 or arguments.size < 64:
        raise UserError("give at least --photographs 2 and --size 64")
    from encoder.analysis.analyzer import FaceAnalyzer
    from encoder.analysis.by_parts import read_part
    from encoder.analysis.columns import Columns
    from encoder.analysis.inputs import Input
    from encoder.analysis.parts import Part
    from encoder.analysis.shard_views import view_inputs
    from engine.threads import use_threads

    use_threads(1)
    analyzer = FaceAnalyzer.from_pretrained(arguments.weights, detector=arguments.detector, device="cpu")
    files = _jpegs(_photograph(arguments.photograph), arguments.size, arguments.photographs, arguments.seed)
    count = len(files)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        inputs = {
            "Parquet": Input(_parquet(folder / "a.parquet", files), "parquet"),
            "tar": Input(_tar(folder / "a.tar", files), "tar"),
        }
        size = sum(map(len, files)) / count
        print(f"{count} photographs, longer side {arguments.size} px, {size:,.0f} bytes each; one thread, seed {arguments.seed}")
        for form, given in inputs.items():
            taken = Path(given.name).stat().st_size / count
            seconds = _seconds(lambda given=given: [view.source for view in view_inputs([given], Columns())])  # type: ignore[misc]
            print(f"{form}: {taken:,.0f} bytes a photograph; read and decoded: {count / seconds:,.1f} a second")
        part = Part(0, (inputs["Parquet"],), 0)
        read_part(analyzer, Part(0, (Input(str(_one(folder, files[0]))),), 0), Columns())  # opens sessions, folds the network
        counts: dict[str, int] = {}
        seconds = _seconds(lambda: counts.update(read_part(analyzer, part, Columns())[1]))
        print(
            f"all of it, found by {arguments.detector}, read by {arguments.weights}: {count / seconds:,.2f} photographs a second"
        )
        print(f"{counts['faces']} faces in {counts['pictures']} photographs")
        print(f"10^8 such photographs: {10**8 * seconds / count / 3600:,.0f} core-hours, {10**8 * size / 10**12:,.1f} TB")
    return 0


def _photograph(path: Path | None) -> Image:
    from PIL import Image

    from encoder.pictures.face_images import BadImage
    from encoder.pictures.pictures import read_picture

    if path is not None:
        try:
            return Image.fromarray(read_picture(path).pixels)
        except BadImage as error:
            raise UserError(f"{path}: {error}") from None
    try:
        from skimage import data
    except ImportError:
        raise UserError("scikit-image is not here (extra dev): give --photograph FILE") from None
    return Image.fromarray(data.astronaut())


def _jpegs(photograph: Image, size: int, count: int, seed: int) -> list[bytes]:
    """The photograph at ``size``, each time shifted by up to 32 pixels, so that hardly two files are one."""
    import numpy as np

    scale = size / max(photograph.size)
    pixels = np.asarray(photograph.resize((round(photograph.width * scale), round(photograph.height * scale))))
    shifts = np.random.default_rng(seed).integers(-32, 33, (count, 2))
    return [_jpeg(np.roll(pixels, shift.tolist(), (0, 1))) for shift in shifts]


def _jpeg(pixels: Any) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=90)
    return out.getvalue()


def _one(folder: Path, data: bytes) -> Path:
    (folder / "one.jpg").write_bytes(data)
    return folder / "one.jpg"


def _parquet(path: Path, files: Sequence[bytes]) -> str:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({"image": [{"bytes": data, "path": f"{number}.jpg"} for number, data in enumerate(files)]})
    pq.write_table(table, path, row_group_size=100, use_dictionary=False)
    return str(path)


def _tar(path: Path, files: Sequence[bytes]) -> str:
    with tarfile.open(path, "w") as tar:
        for number, data in enumerate(files):
            member = tarfile.TarInfo(f"{number:06d}.jpg")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return str(path)


def _seconds(function: Callable[[], object]) -> float:
    started = time.process_time()
    function()
    return time.process_time() - started


cli = command(main)


if __name__ == "__main__":
    cli()
