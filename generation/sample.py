"""Generate faces that show an emotion, verified by the encoder."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.cli import UserError, command, command_parser

if TYPE_CHECKING:
    from generation.faces import FaceBatch
    from generation.pipeline import FacePipeline

INCOMPLETE_EXIT = 3
EXAMPLES = """examples:
  python -m generation.sample --emotion fear
  python -m generation.sample --emotion peur --count 4 --seed 7 --out faces/
  python -m generation.sample --emotion fear:0.7,surprise:0.3 --threshold 0.4
  python -m generation.sample --emotion happily-surprised --source faces128
  python -m generation.sample --emotion happiness --intensity 0.5 --size 256 --mark
  python -m generation.sample --emotion fear --not surprise --identity
  python -m generation.sample --emotion sadness --best-of 8               the clearest of eight draws of each face
  python -m generation.sample --strip happiness:fear --frames 9 --count 3
  python -m generation.sample --emotion disgust --count 100 --json --quiet

compounds (Du et al., 2014; also in French, "joyeusement surpris"): happily surprised, happily disgusted, sadly fearful,
  sadly angry, sadly surprised, sadly disgusted, fearfully angry, fearfully surprised, fearfully disgusted, angrily
  surprised, angrily disgusted, disgustedly surprised, appalled, hatred, awed

exit codes: 0 all faces delivered, 2 bad input, 3 fewer faces than asked (those are written), 130 stopped by Ctrl-C.
A strip is delivered whole; the encoder's reading stands under each of its faces."""


def build_parser() -> argparse.ArgumentParser:
    """The command line; imports nothing heavy."""
    parser = command_parser("python -m generation.sample", __doc__, EXAMPLES)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--emotion", help="English or French name, a compound, or a mixture such as fear:0.7,surprise:0.3")
    what.add_argument("--strip", metavar="FROM:TO", help="one person in even steps from one emotion to another")
    parser.add_argument("--frames", type=int, help="faces of a strip (default: 9)")
    parser.add_argument("--count", type=int, help="faces, or rows of a strip, to deliver (default: 16, strips 1)")
    parser.add_argument("--intensity", type=float, default=1.0, help="0 neutral to 1 full (default: %(default)s)")
    parser.add_argument("--not", dest="avoid", metavar="EMOTION", help="guide away from this emotion, and refuse faces with it")
    parser.add_argument("--avoidance", type=float, help="how strongly --not leads away, above 0 to 1 (default: 0.5)")
    parser.add_argument("--seed", type=int, default=0, help="face i uses seed + i (default: %(default)s)")
    parser.add_argument(
        "--identity",
        action=argparse.BooleanOptionalAction,
        help="the same person for a seed whatever the emotion: only brows, eyes and mouth change (default: strips only)",
    )
    parser.add_argument("--source", choices=("fer2013", "faces128", "drawn"), help="look: FER-2013 (default), sharper, drawn")
    parser.add_argument("--guidance", type=float, help="strength of guidance towards the emotion (default: 3)")
    parser.add_argument("--encoder-guidance", type=float, help="weight of the encoder in choosing tokens (default: 0, off)")
    parser.add_argument("--candidates", type=int, help="with --encoder-guidance: candidates of each step (default: 4)")
    parser.add_argument("--steps", type=int, help="unmasking steps (default: 12)")
    parser.add_argument("--temperature", type=float, help="of the sampler (default: 0.8)")
    parser.add_argument(
        "--precision", choices=("float32", "bf16"), help="bf16: faster, and slightly other faces (default: float32)"
    )
    parser.add_argument("--threshold", type=float, help="least calibrated match, 0 to 1 (default: 0.5)")
    parser.add_argument("--max-tries", type=int, help="draws per face before giving up (default: 32; per strip 4)")
    parser.add_argument("--best-of", type=int, metavar="N", help="draw every face N times and keep the best (default: 1)")
    parser.add_argument("--size", type=int, help="side of the written PNGs in pixels (default: as generated)")
    parser.add_argument("--mark", action="store_true", help="draw a visible mark, AI-generated, on every face")
    parser.add_argument("--batch-size", type=int, default=32, help="faces computed at once; changes no face of float32")
    parser.add_argument("--out", type=Path, help="folder for the files (default: out/EMOTION-sSEED)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, … (default: %(default)s)")
    parser.add_argument("--weights", default="pretrained", help="folder with encoder, tokenizer, prior (default: %(default)s)")
    parser.add_argument("--encoder", help="another encoder than the one in --weights")
    parser.add_argument("--json", action="store_true", help="print the manifest instead of the table")
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors (and --json)")
    return parser


_SETTINGS = (
    "avoid", "avoidance", "guidance", "encoder_guidance", "candidates", "steps", "temperature", "threshold", "max_tries",
    "source", "identity", "precision", "best_of",
)  # fmt: skip


def _settings(arguments: argparse.Namespace) -> dict[str, Any]:
    return {name: getattr(arguments, name) for name in _SETTINGS if getattr(arguments, name) is not None}


def _folder(arguments: argparse.Namespace) -> Path:
    """``--out``, or the first free folder under ``out/`` named after the request."""
    if arguments.out is not None:
        return Path(arguments.out)
    asked = arguments.emotion or f"strip-{arguments.strip}"
    name = "-".join("".join(asked.lower().split()).replace(",", ":").split(":"))
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
    if arguments.size is not None and not 16 <= arguments.size <= 4096:
        raise UserError(f"--size: must lie between 16 and 4096 pixels, got {arguments.size}")
    _check(arguments)
    folder = _folder(arguments)
    if (folder / "manifest.json").exists():
        raise UserError(f"{folder}: already holds manifest.json; choose another --out, or remove it")
    from generation.files import claimed_folder
    from generation.pipeline import FacePipeline

    pipe = FacePipeline.from_pretrained(arguments.weights, encoder=arguments.encoder).to(arguments.device)
    with claimed_folder(folder):
        return _strip(pipe, arguments, folder) if arguments.strip is not None else _faces(pipe, arguments, folder)


def _check(arguments: argparse.Namespace) -> None:
    """Refuse a misspelt name, or an option that would do nothing, before anything is loaded."""
    from encoder.emotions import parse_distribution
    from generation.request import require_partners

    require_partners(arguments)
    if arguments.batch_size < 1:
        raise UserError(f"--batch-size: must be at least 1, got {arguments.batch_size}")
    if arguments.strip is None and arguments.frames is not None:
        raise UserError("--frames: does nothing without --strip; add --strip, or leave it out")

    if arguments.strip is not None and arguments.best_of is not None:
        raise UserError("--best-of: is for single faces; of a strip the first of --max-tries rows that is read as asked is kept")
    if arguments.strip is not None:
        from generation.strip import parse_path

        parse_path(arguments.strip)
    for text in (arguments.emotion, arguments.avoid):
        if text is not None:
            parse_distribution(text)


def _strip(pipe: FacePipeline, arguments: argparse.Namespace, folder: Path) -> int:
    import json

    from tqdm import tqdm

    from generation.files import strip_manifest, write_strip

    count = 1 if arguments.count is None else arguments.count
    frames = 9 if arguments.frames is None else arguments.frames
    hidden = True if arguments.quiet else None
    with tqdm(total=count, desc=arguments.strip, unit="row", disable=hidden, leave=False) as bar:

        def advance(rows: int, _asked: int, tried: int) -> None:
            bar.set_postfix(tried=tried)
            bar.update(rows - bar.n)

        settings = {"intensity": arguments.intensity, "progress": advance, **_settings(arguments)}
        strip = pipe.strip(arguments.strip, frames, count, arguments.seed, **settings)
    files = write_strip(strip, folder, size=arguments.size, mark=arguments.mark)
    made = strip_manifest(strip, [path.name for path in files[: len(strip.rows) * frames]])
    if arguments.json:
        print(json.dumps(made, indent=2))
    elif not arguments.quiet:
        result = made["result"]
        print(
            f"{strip.path}: {result['faces']} faces, {result['accepted']} of them read as asked, mean match "
            f"{result['mean_match']:.2f}, {strip.seconds:.1f} seconds\nwritten to {folder}"
        )
    if len(strip.rows) < count:
        print(f"error: stopped after {len(strip.rows)} of {count} rows", file=sys.stderr)
        return INCOMPLETE_EXIT
    return 0


def _faces(pipe: FacePipeline, arguments: argparse.Namespace, folder: Path) -> int:
    from tqdm import tqdm

    from generation.files import manifest, write_batch

    count = 16 if arguments.count is None else arguments.count
    hidden = True if arguments.quiet else None
    with tqdm(total=count, desc=arguments.emotion, unit="face", disable=hidden, leave=False) as bar:

        def advance(accepted: int, _asked: int, tried: int) -> None:
            bar.set_postfix(tried=tried)
            bar.update(accepted - bar.n)

        batch = pipe(
            arguments.emotion,
            count,
            arguments.seed,
            intensity=arguments.intensity,
            batch_size=arguments.batch_size,
            progress=advance,
            **_settings(arguments),
        )
    files = write_batch(batch, folder, size=arguments.size, mark=arguments.mark)
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


cli = command(main)


if __name__ == "__main__":
    cli()
