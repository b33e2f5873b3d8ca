"""Memory of a training on shards, when the data set grows tenfold: both stages of vqvae/train.py in processes of their own."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.cli import UserError, command, command_parser

if TYPE_CHECKING:
    import numpy as np

EXAMPLES = """examples:
  python -m eval.benchmarks.shards
  python -m eval.benchmarks.shards --faces 20000 --times 10 --steps 200 --out out/shards.json

Written are shards of --faces faces and of --times as many (random pixels), in a temporary folder. A tiny tokenizer and a
tiny prior train on each for --steps steps of 32; the prior first turns every face into tokens. Reported are the most memory
that a process held for itself (anonymous pages; those of mapped files the system takes back when it needs them), and how
many faces a second the reader alone delivers in random order."""

SETTINGS = [
    "tokenizer.size=32",
    "tokenizer.widths=[8,16]",
    "tokenizer.codebook_size=64",
    "tokenizer.code_dim=4",
    "prior.width=32",
    "prior.depth=1",
    "prior.heads=2",
    "loss.adversarial=0",
    "tokenizer_stage.max_minutes=null",
    "prior_stage.max_minutes=null",
    "tokenizer_stage.batch_size=32",
    "prior_stage.batch_size=32",
    "device=cpu",
    "precision=no",
]


def build_parser() -> argparse.ArgumentParser:
    """The command line; imports nothing heavy."""
    parser = command_parser("python -m eval.benchmarks.shards", __doc__, EXAMPLES)
    parser.add_argument("--faces", type=int, default=5000, help="of the smaller set (default: %(default)s)")
    parser.add_argument("--times", type=int, default=10, help="how much larger the other is (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=100, help="of each stage (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of pixels and order (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("out/benchmark-shards.json"), help="default: %(default)s")
    parser.add_argument("--child", metavar="FOLDER", help=argparse.SUPPRESS)
    return parser


def main(argv: Sequence[str]) -> int:
    """Write both sets, train on each, print the memory of both."""
    arguments = build_parser().parse_args(argv)
    for name in ("faces", "times", "steps"):
        if getattr(arguments, name) < (64 if name == "faces" else 1):
            raise UserError(f"--{name} {getattr(arguments, name)}: give at least {64 if name == 'faces' else 1}")
    if arguments.child is not None:
        return _child(arguments)
    from engine.storage.atomic import atomic_write_text, make_folder

    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for count in (arguments.faces, arguments.faces * arguments.times):
            place = Path(folder) / str(count)
            _write(place, count, arguments.seed)
            command = [sys.executable, "-m", "eval.benchmarks.shards", "--child", str(place), "--faces", str(count)]
            command += ["--steps", str(arguments.steps), "--seed", str(arguments.seed)]
            root = Path(__file__).resolve().parents[2]
            done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=root)  # noqa: S603
            if done.returncode:
                raise UserError(f"training on {count} faces failed: {done.stderr.strip().splitlines()[-1]}")
            rows.append(json.loads(done.stdout.strip().splitlines()[-1]))
    report = {"seed": arguments.seed, "steps": arguments.steps, "cores": len(os.sched_getaffinity(0)), "sets": rows}
    make_folder(arguments.out.parent)
    atomic_write_text(arguments.out, json.dumps(report, indent=2) + "\n")
    print(f"{'faces':>12}{'shards, MB':>12}{'own memory, MiB':>18}{'with mapped files':>20}{'read, faces/s':>16}")
    for row in rows:
        print(
            f"{row['faces']:>12,}{row['megabytes']:>12,.0f}{row['anonymous_mib']:>18,.0f}{row['resident_mib']:>20,.0f}"
            f"{row['reads_per_second']:>16,.0f}"
        )
    print(f"\n{arguments.times} times the faces: {rows[1]['anonymous_mib'] - rows[0]['anonymous_mib']:+.1f} MiB")
    return 0


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


class _Watch(threading.Thread):
    """Notes the most memory that this process held, twenty times a second."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.most = {"RssAnon": 0, "VmRSS": 0}
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.wait(0.05):
            for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
                name, _, rest = line.partition(":")
                if name in self.most:
                    self.most[name] = max(self.most[name], int(rest.split()[0]))

    def end(self) -> dict[str, float]:
        """MiB of each kind."""
        self._over.set()
        self.join()
        return {name: kib / 1024 for name, kib in self.most.items()}


def _child(arguments: argparse.Namespace) -> int:
    """Train on one set and print what it took as JSON."""
    if not Path("/proc/self/status").is_file():
        raise UserError("memory is read from /proc, which this system does not have; run this on Linux")
    import numpy as np

    from encoder.data.sharded_faces import open_shards
    from engine.training.batches import GlobalBatches
    from vqvae.train import main as train

    place = Path(arguments.child)
    epochs = max(arguments.steps * 32 / arguments.faces, 1e-6)
    stages = [f"{stage}_stage.epochs={epochs:.9f}" for stage in ("tokenizer", "prior")]
    out = place.with_name(f"run-{place.name}")
    watch = _Watch()
    watch.start()
    shards = ["faces.source=shards", f"faces.shards={place}", "faces.look=drawn", f"seed={arguments.seed}"]
    code = train([*SETTINGS, *shards, *stages, "--out", str(out)])
    memory = watch.end()
    if code:
        return code
    faces = open_shards(str(place), "train", size=32, cache=out / "cache")
    batches = GlobalBatches(len(faces), 64, seed=arguments.seed)
    started, rounds = time.perf_counter(), 30
    for step in range(rounds):
        faces.read(np.sort(batches(step)[1]))
    result: dict[str, Any] = {
        "faces": len(faces),
        "megabytes": sum(path.stat().st_size for path in place.glob("*.tar")) / 1e6,
        "anonymous_mib": memory["RssAnon"],
        "resident_mib": memory["VmRSS"],
        "reads_per_second": rounds * 64 / (time.perf_counter() - started),
    }
    print(json.dumps(result))
    return 0


cli = command(main)


if __name__ == "__main__":
    cli()
