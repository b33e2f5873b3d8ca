"""Make a set of generated faces: balanced and labelled, to learn from; or people with emotions at intensities, for a study."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.cli import command, command_parser
from encoder.emotions import EMOTION_NAMES
from generation.dataset.counts import read_counts
from generation.dataset.order import NOT_FOR_SETS, DatasetRequest, ask
from generation.kit.asking import add_people_options, format_people, read_stimuli, refuse_people_options
from generation.options import add_field_options, add_network_options, given
from generation.request import FaceRequest
from vqvae.attributes import ATTRIBUTE_NAMES

if TYPE_CHECKING:
    from accelerate import PartialState

    from generation.draw import FaceModel

INCOMPLETE_EXIT = 3
EXAMPLES = """examples:
  python -m generation.dataset --per-emotion 1000 --out faces/
  python -m generation.dataset --counts disgust:4000,peur:2000 --seed 7 --out faces/ --format parquet
  python -m generation.dataset --counts fear:20,happiness:10 --each group --out faces/   20 and 10 of each group
  python -m generation.dataset --counts counts.csv --out faces/   columns emotion, group and faces, or one a class
  python -m generation.dataset --per-emotion 5000 --out faces/ --precision bf16 --guidance 0 --steps 8   much faster, more varied
  accelerate launch --num_processes 4 --multi_gpu -m generation.dataset --per-emotion 10000 --out faces/
  torchrun --nproc-per-node 2 -m generation.dataset --per-emotion 1000 --out faces/ --device cpu
  python -m generation.dataset --people 20 --intensities 0.25,0.5,1 --out stimuli/
  python -m generation.dataset --people 8 --emotions fear,anger --gender even --age 30-39 --nearest DATA --out stimuli/

Layouts: folders (train/EMOTION/*.png, faces.csv) or Parquet (an image column of {bytes, path}); both are read by
python -m encoder.train (data.path=FOLDER) and by Hugging Face datasets. Stopped at any moment, even by kill -9, the same
command goes on and ends with the same files. The faces do not depend on the number of processes: with as many threads in
each (OMP_NUM_THREADS) bit for bit, with other numbers of threads up to single grey levels of single pixels.
With --people everybody is one person in all faces; the folder gets a table, its codebook, a card and a sheet to rate the faces.
exit codes: 0 complete, 2 bad input, 3 fewer faces than asked (the set is written), 130 stopped by Ctrl-C."""


def build_parser() -> argparse.ArgumentParser:
    """The command line; imports nothing heavy."""
    parser = command_parser("python -m generation.dataset", __doc__, EXAMPLES)
    amount = parser.add_mutually_exclusive_group(required=True)
    amount.add_argument("--per-emotion", type=int, metavar="N", help="faces of each of the seven emotions")
    amount.add_argument("--people", type=int, metavar="N", help="people, each with every emotion at every intensity")
    amount.add_argument(
        "--counts",
        metavar="WHO:N,…",
        help="faces of some emotions, such as disgust:4000,fear:2000, or of some people, such as fear/white/female:20; or a "
        "table, FILE.csv",
    )
    parser.add_argument(
        "--each",
        nargs="+",
        choices=ATTRIBUTE_NAMES,
        help="these counts of every class of an attribute, or of several (age from 3-9 up)",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the set")
    add_field_options(parser, DatasetRequest)
    add_field_options(parser, FaceRequest, leave_out=("count", "seed", *NOT_FOR_SETS))
    add_people_options(parser)
    add_network_options(parser, devices=("auto", "cpu", "cuda"))
    return parser


def format_table(content: dict[str, Any], folder: Path) -> str:
    """What was made, emotion by emotion."""
    lines = [f"{'emotion':<10} {'asked':>6} {'delivered':>9} {'first try':>9} {'draws':>6} {'refused':>7} {'near copies':>11}"]
    for name, row in content["emotions"].items():
        lines.append(
            f"{name:<10} {row['asked']:>6} {row['delivered']:>9} {row['accepted_at_first_try']:>9.2f} "
            f"{row['draws_per_candidate']:>6.2f} {row['refused']:>7} {row['near_duplicates_left_out']:>11}"
        )
    total = sum((Counter(row.get("refused_draws", {})) for row in content["emotions"].values()), Counter[str]())
    by = ", ".join(f"{cause} {count}" for cause, count in total.items())
    return "\n".join([*lines, *([f"draws refused by {by}"] if by else []), f"in {folder}"])


def main(argv: Sequence[str]) -> int:
    """Parse, make, write; returns the exit code."""
    arguments = build_parser().parse_args(argv)
    if arguments.people is not None:
        return _people(arguments, argv)
    refuse_people_options(arguments)
    counts = dict.fromkeys(EMOTION_NAMES, arguments.per_emotion) if arguments.counts is None else read_counts(arguments.counts)
    asked: dict[str, Any] = given(arguments) | given(arguments, DatasetRequest)
    asked |= {"counts": counts, "each": arguments.each or ()}
    names = {"valid_share": "valid", "form": "format"}
    request = ask(**{names.get(name, name): value for name, value in asked.items()})
    from generation.dataset.make import make_dataset

    model, state = _load(arguments)
    content = make_dataset(model, request, arguments.out, command=_command(argv), state=state)
    if state is not None and not state.is_main_process:
        return 0
    if not arguments.quiet:
        print(format_table(content, arguments.out))
    if content["complete"]:
        return 0
    print(
        "error: some emotions have fewer faces than asked for; raise --max-tries or --guidance, or lower --threshold or "
        "--least-difference, with another --out",
        file=sys.stderr,
    )
    return INCOMPLETE_EXIT


def _people(arguments: argparse.Namespace, argv: Sequence[str]) -> int:
    request, opinions = read_stimuli(arguments)
    from generation.kit.make import make_stimuli

    model, state = _load(arguments)
    content = make_stimuli(model, request, arguments.out, **opinions, command=_command(argv), state=state)
    if state is not None and not state.is_main_process:
        return 0
    if not arguments.quiet:
        print(format_people(content, arguments.out))
    if content["complete"]:
        return 0
    missing = [f"{each['person']} {each['emotion']} {each['intensity']:g}" for each in content["missing"]]
    more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
    print(
        f"error: {len(missing)} of {content['asked']} faces could not be made: {', '.join(missing[:3])}{more}; the card lists "
        "them; raise --max-tries, lower --threshold or --rise, or take another --seed, with another --out",
        file=sys.stderr,
    )
    return INCOMPLETE_EXIT


def _load(arguments: argparse.Namespace) -> tuple[FaceModel, PartialState | None]:
    """The weights on this process's device, and Accelerate's state where several share the work."""
    from engine.devices import launched, process_state
    from generation.draw import FaceModel

    state = process_state(arguments.device) if launched() > 1 else None
    device = arguments.device if state is None else str(state.device)
    return FaceModel.from_pretrained(arguments.weights, encoder=arguments.encoder).to(device), state


def _command(argv: Sequence[str]) -> str:
    return shlex.join(["python", "-m", "generation.dataset", *argv])


cli = command(main)


if __name__ == "__main__":
    cli()
