"""From process start to 16 verified faces on disk, against the time that importing torch and torchvision takes."""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from configs.cli import UserError, command, command_parser

EXAMPLES = """examples:
  python -m eval.benchmarks.startup
  python -m eval.benchmarks.startup --emotion disgust --rounds 7"""


def build_parser() -> argparse.ArgumentParser:
    parser = command_parser("python -m eval.benchmarks.startup", __doc__, EXAMPLES)
    parser.add_argument("--emotion", default="fear")
    parser.add_argument("--rounds", type=int, default=5, help="both commands, by turns (default: %(default)s)")
    return parser


def _seconds(command: list[str]) -> float:
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise UserError(f"{' '.join(command[1:4])} failed: {done.stderr.strip().splitlines()[-1]}")
    return time.perf_counter() - started


def main(argv: Sequence[str]) -> int:
    """Run both commands by turns and print medians and their ratio."""
    arguments = build_parser().parse_args(argv)
    from tqdm import tqdm

    imports, samples = [], []
    with tempfile.TemporaryDirectory() as folder:
        for number in tqdm(range(arguments.rounds), desc="rounds", leave=False, disable=None):
            out = str(Path(folder) / str(number))
            imports.append(_seconds([sys.executable, "-c", "import torch, torchvision"]))
            sample = [sys.executable, "-m", "generation.sample", "--device", "cpu", "--emotion", arguments.emotion]
            samples.append(_seconds([*sample, "--out", out, "--quiet"]))
        threads = json.loads((Path(out) / "manifest.json").read_text(encoding="utf-8"))["environment"]["threads"]
    base, ours = statistics.median(imports), statistics.median(samples)
    print(f"import torch, torchvision:      {base:6.2f} s (median of {arguments.rounds})")
    print(f"16 verified faces of {arguments.emotion:<10} {ours:6.2f} s, {threads} thread(s)")
    print(f"ratio: {ours / base:.2f}")
    return 0


cli = command(main)


if __name__ == "__main__":
    cli()
