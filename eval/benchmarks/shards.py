"""Memory of a training on shards, when the data set grows tenfold: both stages of vqvae/train.py in processes of their own."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from configs.cli import UserError, command, command_parser
from engine.storage.atomic import require_new
from engine.threads import allowed_cores
from eval.benchmarks import harness
from eval.benchmarks.harness import DEFAULT
from eval.experiments.options import at_least

if TYPE_CHECKING:
    import numpy as np

EXAMPLES = """examples:
  python -m eval.benchmarks.shards
  python -m eval.benchmarks.shards --faces 20000 --times 10 --steps 200 --out out/shards.json

Written are shards of --faces faces and of --times as many (random pixels), in a temporary folder. A tiny tokenizer and a
tiny prior train on each for --steps steps of 32; the prior first turns every face into tokens. Reported are the most memory
that a process held for itself (anonymous pages; those of mapped files the system takes back when it needs them), and how
many faces a second the reader alone delivers in random order."""

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = ["tokenizer.size=32", "tokenizer.widths=[8,16]", "tokenizer.codebook_size=64", "tokenizer.code_dim=4",
            "prior.width=32", "prior.depth=1", "prior.heads=2", "loss.adversarial=0", "tokenizer_stage.batch_size=32",
            "prior_stage.batch_size=32", "tokenizer_stage.max_minutes=null", "prior_stage.max_minutes=null", "device=cpu",
            "precision=no", "faces.source=shards", "faces.look=drawn"]  # fmt: skip
BATCH, READS = 64, 30


def build_parser() -> argparse.ArgumentParser:
    parser = command_parser("python -m eval.benchmarks.shards", __doc__, EXAMPLES)
    parser.add_argument("--faces", type=int, default=5000, help=f"of the smaller set ({DEFAULT})")
    parser.add_argument("--times", type=int, default=10, help=f"how much larger the other is ({DEFAULT})")
    parser.add_argument("--steps", type=int, default=100, help=f"of each stage ({DEFAULT})")
    parser.add_argument("--seed", type=int, default=0, help=f"of pixels and order ({DEFAULT})")
    harness.add_out(parser, "shards")
    return parser


def main(argv: Sequence[str]) -> int:
    """Write both sets, train on each, print the memory of both."""
    asked = build_parser().parse_args(argv)
    at_least(asked, faces=64, times=1, steps=1)
    require_new([asked.out], asked.overwrite)
    if not Path("/proc/self/status").is_file():
        raise UserError("memory is read from /proc, which this system does not have; run this on Linux")
    rows: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        for count in (asked.faces, asked.faces * asked.times):
            place = Path(folder) / str(count)
            _write(place, count, asked.seed)
            rows.append({"faces": count, "megabytes": sum(path.stat().st_size for path in place.glob("*.tar")) / 1e6})
            rows[-1] |= _train(place, asked.steps * 32 / count, asked.seed)
            rows[-1]["reads_per_second"] = _reads_per_second(place, asked.seed)
    kinds = ("megabytes", "anonymous_mib", "resident_mib", "reads_per_second")
    cells = [(f"{row['faces']:,}", *(f"{row[kind]:,.0f}" for kind in kinds)) for row in rows]
    columns = ("faces", "shards, MB", "own memory, MiB", "with mapped files", "read, faces/s")
    more = f"{asked.times} times the faces: {rows[1]['anonymous_mib'] - rows[0]['anonymous_mib']:+.1f} MiB"
    report = {"seed": asked.seed, "steps": asked.steps, "cores": allowed_cores(), "sets": rows}
    return harness.finish(report, [*harness.table(columns, cells), "", more], asked.out)


def _write(place: Path, count: int, seed: int) -> None:
    import numpy as np

    from encoder.data.shard_writer import write_shards

    # A thousand different faces, again and again: what they show costs no memory.
    pixels = np.random.default_rng(seed).integers(0, 256, (1000, 32, 32), dtype=np.uint8)

    def faces(number: int) -> Iterator[tuple[np.ndarray, list[float]]]:
        for index in range(number):
            yield pixels[index % 1000], np.eye(7)[index % 7].tolist()

    write_shards(place, "train", faces(count))
    write_shards(place, "valid", faces(64))


def _train(shards: Path, epochs: float, seed: int) -> dict[str, float]:
    """Train both stages; MiB that the process held at most, for itself and with mapped files, read twenty times a second."""
    settings = [f"{stage}_stage.epochs={max(epochs, 1e-6):.9f}" for stage in ("tokenizer", "prior")]
    settings += [*SETTINGS, f"faces.shards={shards}", f"seed={seed}"]
    command = [sys.executable, "-m", "vqvae.train", *settings, "--out", str(_run(shards))]
    most = {"RssAnon": 0, "VmRSS": 0}
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said, cwd=ROOT)  # noqa: S603
        while process.poll() is None:
            with suppress(OSError):  # it has just ended
                for line in Path(f"/proc/{process.pid}/status").read_text(encoding="ascii").splitlines():
                    name, _, rest = line.partition(":")
                    if name in most:
                        most[name] = max(most[name], int(rest.split()[0]))
            time.sleep(0.05)
        said.seek(0)
        if process.returncode:
            raise UserError(f"training on {shards.name} faces failed: {said.read().strip().splitlines()[-1]}")
    return {"anonymous_mib": most["RssAnon"] / 1024, "resident_mib": most["VmRSS"] / 1024}


def _run(shards: Path) -> Path:
    return shards.with_name(f"run-{shards.name}")


def _reads_per_second(shards: Path, seed: int) -> float:
    import numpy as np

    from encoder.data.sharded_faces import open_shards
    from engine.training.batches import GlobalBatches

    faces = open_shards(str(shards), "train", size=32, cache=_run(shards) / "cache")
    batches = GlobalBatches(len(faces), BATCH, seed=seed)
    started = time.perf_counter()
    for step in range(READS):
        faces.read(np.sort(batches(step)[1]))
    return READS * BATCH / (time.perf_counter() - started)


cli = command(main)


if __name__ == "__main__":
    cli()
