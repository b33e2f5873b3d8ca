"""Generate faces that show an emotion, verified by the encoder."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.cli import INTERRUPT_EXIT, UserError, add_overwrite, command, command_parser
from encoder.emotions import describe
from generation.options import add_field_options, add_network_options, given, read_request
from generation.request import FaceRequest

if TYPE_CHECKING:
    from generation.faces import FaceBatch

INCOMPLETE_EXIT = 3
_DEFAULTS = {"count": "16; rows of a strip: 1", "max_tries": "32; of a strip 4", "identity": "in strips"}
EXAMPLES = """examples:
  python -m generation.sample --emotion fear
  python -m generation.sample --emotion peur --count 4 --seed 7 --out faces/
  python -m generation.sample --emotion fear:0.7,surprise:0.3 --threshold 0.4
  python -m generation.sample --emotion happily-surprised --look fer2013
  python -m generation.sample --emotion anger --gender female --age 40-49     weights that can be told of them
  python -m generation.sample --emotion happiness --intensity 0.5 --size 256 --mark
  python -m generation.sample --emotion fear --not surprise --identity
  python -m generation.sample --emotion sadness --best-of 8               the clearest of eight draws of each face
  python -m generation.sample --strip happiness:fear --frames 9 --count 3
  python -m generation.sample --emotion disgust --count 100 --json --quiet

compounds (Du et al., 2014; also in French, "joyeusement surpris"): happily surprised, happily disgusted, sadly fearful,
  sadly angry, sadly surprised, sadly disgusted, fearfully angry, fearfully surprised, fearfully disgusted, angrily
  surprised, angrily disgusted, disgustedly surprised, appalled, hatred, awed

Faces are written as they are accepted, the manifest at the end, after Ctrl-C too.
exit codes: 0 all faces delivered, 2 bad input, 3 fewer faces than asked (those are written), 130 stopped by Ctrl-C and 143
by SIGTERM (those that were accepted by then are written).
A strip is delivered whole; the encoder's reading stands under each of its faces."""


def build_parser() -> argparse.ArgumentParser:
    """The command line; imports nothing heavy."""
    parser = command_parser("python -m generation.sample", __doc__, EXAMPLES)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--emotion", help="English or French name, a compound, or a mixture such as fear:0.7,surprise:0.3")
    what.add_argument("--strip", metavar="FROM:TO", help="one person in even steps from one emotion to another")
    parser.add_argument("--frames", type=int, metavar="N", help="faces of a strip (default: 9)")
    parser.add_argument("--intensity", type=float, default=1.0, metavar="X", help="0 neutral to 1 full (default: %(default)s)")
    add_field_options(parser, FaceRequest, defaults=_DEFAULTS)
    parser.add_argument("--size", type=int, metavar="N", help="side of the written PNGs in pixels (default: as generated)")
    parser.add_argument("--mark", action="store_true", help="draw a visible mark, AI-generated, on every face")
    parser.add_argument("--batch-size", type=int, default=32, metavar="N", help="faces computed at once (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="folder for the files (default: out/EMOTION-sSEED)")
    parser.add_argument("--json", action="store_true", help="print the manifest instead of the table")
    add_overwrite(parser)
    add_network_options(parser)
    return parser


def main(argv: Sequence[str]) -> int:
    """Parse, generate, write; returns the exit code."""
    arguments = build_parser().parse_args(argv)
    _check(arguments)
    folder = _folder(arguments)
    if arguments.strip is not None:
        return _strip(arguments, folder)
    request = read_request(arguments)
    from generation.draw import FaceModel
    from generation.faces import FaceBatch
    from generation.files import FaceWriter, remove_former

    model = FaceModel.from_pretrained(arguments.weights, encoder=arguments.encoder).to(arguments.device)
    asked = FaceBatch(model.settled(request), (), 0, 0.0, model.weights)
    remove_former(folder)
    writer = FaceWriter(asked, folder, size=arguments.size, mark=arguments.mark)
    with _bar(arguments, arguments.emotion, request.count, "face") as advance:
        batch = model.generate(request, batch_size=arguments.batch_size, progress=advance, taken=writer.add)
    made = writer.finish(batch)
    if batch.interrupted:
        return _stopped(arguments, made, f"{len(batch.faces)} of {request.count} faces", folder)
    _print(arguments, made, _table(describe(request.emotion), made["result"]), folder)
    if len(batch.faces) == request.count:
        return 0
    # A veto that refused more than the encoder did is the one to be lowered.
    vetoes = {"realism": "lower --realism", "landmarks": "give --landmarks off", "attributes": "give --as-told off"}
    worst = max(batch.refused, key=lambda cause: batch.refused[cause], default="emotion")
    kept = f"they are in {folder}; " if batch.faces else ""
    return _incomplete(
        f"only {len(batch.faces)} of {request.count} faces were accepted in {batch.tried} tries, none of {_missing(batch)}; "
        f"{kept}take another --seed, raise --max-tries or --guidance, or {vetoes.get(worst, 'lower --threshold')}"
    )


def _missing(batch: FaceBatch) -> str:
    """The seeds that gave no face: ``"seed 12"``, ``"seeds 3, 4, 9 and 5 more"``."""
    asked = batch.request
    found = {face.seed for face in batch.faces}
    seeds = [seed for seed in range(asked.seed, asked.seed + asked.count) if seed not in found]
    more = f" and {len(seeds) - 3} more" if len(seeds) > 3 else ""
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds[:3]))}{more}"


def _check(arguments: argparse.Namespace) -> None:
    if arguments.size is not None and not 16 <= arguments.size <= 4096:
        raise UserError(f"--size: must lie between 16 and 4096 pixels, got {arguments.size}")
    if arguments.batch_size < 1:
        raise UserError(f"--batch-size: must be at least 1, got {arguments.batch_size}")
    if arguments.strip is None and arguments.frames is not None:
        raise UserError("--frames: does nothing without --strip; add --strip, or leave it out")


def _folder(arguments: argparse.Namespace) -> Path:
    """``--out``, or the first free folder under ``out/`` named after the request; one where faces can be written."""
    from engine.storage.atomic import free_folder, require_new

    if arguments.out is None:
        asked = arguments.emotion or f"strip-{arguments.strip}"
        stem = "-".join("".join(asked.lower().split()).replace(",", ":").split(":")) + f"-s{arguments.seed or 0}"
        arguments.out = free_folder(Path("out") / stem)
    require_new([arguments.out / "manifest.json"], arguments.overwrite)
    return Path(arguments.out)


def _strip(arguments: argparse.Namespace, folder: Path) -> int:
    settings = {"count": 1, "intensity": arguments.intensity, **given(arguments)}
    frames = 9 if arguments.frames is None else arguments.frames
    from generation.draw import FaceModel
    from generation.files import FaceWriter, remove_former
    from generation.strip import FaceStrip, make_strip, strip_requests

    requests = strip_requests(arguments.strip, frames, **settings)
    model = FaceModel.from_pretrained(arguments.weights, encoder=arguments.encoder).to(arguments.device)
    first, *rest = map(model.settled, requests)
    emotions, count = (first.emotion, *(each.emotion for each in rest)), first.count
    asked = FaceStrip(first, (), 0, 0.0, model.weights, path=arguments.strip, emotions=emotions)
    remove_former(folder)
    writer = FaceWriter(asked, folder, size=arguments.size, mark=arguments.mark)
    with _bar(arguments, arguments.strip, count, "row") as advance:
        strip = make_strip(model, arguments.strip, frames, progress=advance, taken=writer.add_row, **settings)
    made = writer.finish(strip)
    if strip.interrupted:
        return _stopped(arguments, made, f"{len(strip.rows)} of {count} rows", folder)
    line = "{faces} faces, {accepted} of them read as asked, mean match {mean_match:.2f}, {seconds:.1f} seconds"
    _print(arguments, made, f"{strip.path}: {line.format(**made['result'])}", folder)
    return 0


@contextmanager
def _bar(arguments: argparse.Namespace, title: str, count: int, unit: str) -> Iterator[Callable[[int, int, int], None]]:
    from tqdm import tqdm

    with tqdm(total=count, desc=title, unit=unit, disable=True if arguments.quiet else None, leave=False) as bar:

        def advance(done: int, _asked: int, tried: int) -> None:
            bar.set_postfix(tried=tried)
            bar.update(done - bar.n)

        yield advance


def _table(asked: str, result: dict[str, Any]) -> str:
    mean = "-" if result["mean_match"] is None else f"{result['mean_match']:.2f}"
    by = ", ".join(f"{cause} {count}" for cause, count in result["refused"].items())
    return (
        f"{'emotion':<28} {'asked':>6} {'accepted':>9} {'tried':>6} {'mean p':>7} {'seconds':>8}\n"
        f"{asked:<28} {result['asked']:>6} {result['accepted']:>9} {result['tried']:>6} {mean:>7} {result['seconds']:>8.1f}"
        + (f"\nrefused by {by}" if by else "")
    )


def _incomplete(problem: str) -> int:
    print(f"error: {problem}", file=sys.stderr)
    return INCOMPLETE_EXIT


def _stopped(arguments: argparse.Namespace, made: dict[str, Any], what: str, folder: Path) -> int:
    """Say what there is after Ctrl-C."""
    if arguments.json:
        print(json.dumps(made, indent=2))
    print(f"\nstopped by Ctrl-C: {what} are in {folder}", file=sys.stderr)
    return INTERRUPT_EXIT


def _print(arguments: argparse.Namespace, made: dict[str, Any], text: str, folder: Path) -> None:
    if arguments.json:
        print(json.dumps(made, indent=2))
    elif not arguments.quiet:
        print(f"{text}\nwritten to {folder}")


cli = command(main)


if __name__ == "__main__":
    cli()
