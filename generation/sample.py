"""Generate faces that show an emotion, verified by the encoder."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from configs.cli import UserError, run

if TYPE_CHECKING:
    from generation.pipeline import FaceBatch

INCOMPLETE_EXIT = 3
EXAMPLES = """examples:
  python -m generation.sample --emotion fear
  python -m generation.sample --emotion peur --count 4 --seed 7 --out faces/
  python -m generation.sample --emotion fear:0.7,surprise:0.3 --threshold 0.4
  python -m generation.sample --emotion happiness --intensity 0.5 --size 256
  python -m generation.sample --emotion disgust --count 100 --json --quiet

exit codes: 0 all faces delivered, 2 bad input, 3 fewer faces than asked (those are written), 130 stopped by Ctrl-C."""


def build_parser() -> argparse.ArgumentParser:
    """The command line; imports nothing heavy."""
    parser = argparse.ArgumentParser(
        prog="python -m generation.sample",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--emotion", required=True, help="English or French name, or a mixture such as fear:0.7,surprise:0.3")
    parser.add_argument("--count", type=int, default=16, help="faces to deliver (default: %(default)s)")
    parser.add_argument("--intensity", type=float, default=1.0, help="0 neutral to 1 full (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="face i uses seed + i (default: %(default)s)")
    parser.add_argument("--guidance", type=float, help="strength of guidance towards the emotion (default: 8)")
    parser.add_argument("--steps", type=int, help="unmasking steps (default: 12)")
    parser.add_argument("--temperature", type=float, help="of the sampler (default: 0.7)")
    parser.add_argument("--threshold", type=float, help="least calibrated match, 0 to 1 (default: 0.5)")
    parser.add_argument("--max-tries", type=int, help="draws per face before giving up (default: 64)")
    parser.add_argument("--source", choices=("fer2013", "faces128", "drawn"), help="look of the faces (default: fer2013)")
    parser.add_argument("--size", type=int, help="side of the written PNGs in pixels (default: as generated)")
    parser.add_argument("--batch-size", type=int, default=32, help="faces computed at once; changes no face")
    parser.add_argument("--out", type=Path, help="folder for the files (default: out/EMOTION-sSEED)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, … (default: %(default)s)")
    parser.add_argument("--weights", default="pretrained", help="folder with encoder, tokenizer, prior (default: %(default)s)")
    parser.add_argument("--encoder", help="another encoder than the one in --weights")
    parser.add_argument("--json", action="store_true", help="print the manifest instead of the table")
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors (and --json)")
    return parser


def _settings(arguments: argparse.Namespace) -> dict[str, object]:
    names = ("guidance", "steps", "temperature", "threshold", "max_tries", "source")
    return {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}


def _folder(arguments: argparse.Namespace) -> Path:
    """``--out``, or the first free folder under ``out/`` named after the request."""
    if arguments.out is not None:
        return Path(arguments.out)
    name = "-".join(part.replace(":", "") for part in arguments.emotion.lower().replace(" ", "").split(","))
    stem = f"{name}-s{arguments.seed}"
    for suffix in ("", *(f"-{number}" for number in range(2, 10_000))):
        folder = Path("out") / (stem + suffix)
        if not folder.exists():
            return folder
    raise UserError("out/ is full of requests like this one; choose --out")


def format_table(batch: FaceBatch, folder: Path) -> str:
    """Asked, accepted, tried, mean probability, seconds."""
    from encoder.emotions import describe

    matches = [face.verdict.match for face in batch.faces]
    mean = f"{sum(matches) / len(matches):.2f}" if matches else "-"
    head = f"{'emotion':<28} {'asked':>6} {'accepted':>9} {'tried':>6} {'mean p':>7} {'seconds':>8}"
    row = (
        f"{describe(batch.request.emotion):<28} {batch.request.count:>6} {len(batch.faces):>9} {batch.tried:>6} "
        f"{mean:>7} {batch.seconds:>8.1f}"
    )
    return f"{head}\n{row}\nwritten to {folder}"


def main(argv: Sequence[str]) -> int:
    """Parse, generate, write; returns the exit code."""
    arguments = build_parser().parse_args(argv)
    from encoder.emotions import parse_distribution

    parse_distribution(arguments.emotion)
    if arguments.size is not None and not 16 <= arguments.size <= 4096:
        raise UserError(f"--size: must lie between 16 and 4096 pixels, got {arguments.size}")
    folder = _folder(arguments)
    if (folder / "manifest.json").exists():
        raise UserError(f"{folder}: already holds manifest.json; choose another --out, or remove it")
    from tqdm import tqdm

    from generation.output import manifest, write_batch
    from generation.pipeline import FacePipeline

    pipe = FacePipeline.from_pretrained(arguments.weights, encoder=arguments.encoder).to(arguments.device)
    hidden = True if arguments.quiet else None
    with tqdm(total=arguments.count, desc=arguments.emotion, unit="face", disable=hidden, leave=False) as bar:

        def advance(accepted: int, _asked: int, tried: int) -> None:
            bar.set_postfix(tried=tried)
            bar.update(accepted - bar.n)

        batch = pipe(
            arguments.emotion,
            arguments.count,
            arguments.seed,
            intensity=arguments.intensity,
            batch_size=arguments.batch_size,
            progress=advance,
            **_settings(arguments),
        )
    files = write_batch(batch, folder, size=arguments.size)
    if arguments.json:
        import json

        print(json.dumps(manifest(batch, [path.name for path in files[: len(batch.faces)]]), indent=2))
    elif not arguments.quiet:
        print(format_table(batch, folder))
    if not batch.complete:
        print(
            f"error: only {len(batch.faces)} of {batch.request.count} faces passed the encoder in {batch.tried} tries; "
            "raise --max-tries or --guidance, or lower --threshold",
            file=sys.stderr,
        )
        return INCOMPLETE_EXIT
    return 0


def cli() -> None:
    """Entry point."""
    run(main)


if __name__ == "__main__":
    cli()
