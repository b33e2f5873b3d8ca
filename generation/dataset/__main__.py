"""Make a labelled set of generated faces: balanced, verified, without near copies, with manifest and data card."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.cli import INTERRUPT_EXIT, UserError, command, command_parser

if TYPE_CHECKING:
    from accelerate import PartialState

    from generation.dataset.blocks import DatasetRequest
    from generation.dataset.selection import Selection
    from generation.pipeline import FacePipeline

INCOMPLETE_EXIT = 3
_NOT_FOR_SETS = {
    "best_of": "a set is to hold what is accepted, not the clearest of it",
    "intensity": "a set holds faces of the full emotion that their label names",
}
WORK = ".work"
EXAMPLES = """examples:
  python -m generation.dataset --per-emotion 1000 --out faces/
  python -m generation.dataset --counts disgust:4000,peur:2000 --seed 7 --out faces/ --format parquet
  python -m generation.dataset --per-emotion 5000 --out faces/ --precision bf16 --guidance 0 --steps 8   much faster, more varied
  accelerate launch --num_processes 4 --multi_gpu -m generation.dataset --per-emotion 10000 --out faces/
  torchrun --nproc-per-node 2 -m generation.dataset --per-emotion 1000 --out faces/ --device cpu

Layouts: folders (train/EMOTION/*.png, faces.csv) or Parquet (an image column of {bytes, path}); both are read by
python -m encoder.train (data.path=FOLDER) and by Hugging Face datasets. Stopped at any moment, even by kill -9, the same
command goes on and ends with the same files. The faces do not depend on the number of processes: with as many threads in
each (OMP_NUM_THREADS) bit for bit, with other numbers of threads up to single grey levels of single pixels.
exit codes: 0 complete, 2 bad input, 3 an emotion has fewer faces than asked (the set is written), 130 stopped by Ctrl-C."""


def build_parser() -> argparse.ArgumentParser:
    """The command line; imports nothing heavy."""
    parser = command_parser("python -m generation.dataset", __doc__, EXAMPLES)
    amount = parser.add_mutually_exclusive_group(required=True)
    amount.add_argument("--per-emotion", type=int, metavar="N", help="faces of each of the seven emotions")
    amount.add_argument("--counts", metavar="EMOTION:N,…", help="faces of some emotions, such as disgust:4000,fear:2000")
    parser.add_argument("--out", type=Path, required=True, help="folder of the set")
    parser.add_argument("--format", choices=("folders", "parquet"), default="folders", help="default: %(default)s")
    parser.add_argument("--valid", type=float, default=0.1, help="share of each emotion held out as valid (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="candidate i uses seed + i (default: %(default)s)")
    parser.add_argument(
        "--least-difference",
        type=float,
        default=10.0,
        help="grey levels by which two faces differ at least; 0 keeps near copies (default: %(default)s)",
    )
    parser.add_argument("--guidance", type=float)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--temperature", type=float)
    parser.add_argument(
        "--precision", choices=("float32", "bf16"), help="bf16: faster, and slightly other faces (default: float32)"
    )
    parser.add_argument("--threshold", type=float, help="least calibrated match, 0 to 1")
    parser.add_argument("--max-tries", type=int, help="draws per candidate before giving it up")
    parser.add_argument("--source", choices=("fer2013", "faces128", "drawn"), help="look of the faces")
    parser.add_argument(
        "--mark", action="store_true", help="draw a visible mark on every face: to show the set, not to train on it"
    )
    parser.add_argument("--weights", default="pretrained", help="folder with encoder, tokenizer, prior (default: %(default)s)")
    parser.add_argument("--encoder", help="another encoder than the one in --weights")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")
    return parser


def parse_counts(text: str) -> dict[str, int]:
    """``"disgust:4000,peur:2000"`` as faces by emotion.

    Raises:
        UserError: an unknown or repeated emotion, or no whole number.
    """
    from encoder.emotions import parse_emotion

    counts: dict[str, int] = {}
    for part in text.split(","):
        name, _, number = part.partition(":")
        label = parse_emotion(name).label
        if label in counts:
            raise UserError(f"--counts: {label} is named twice")
        try:
            counts[label] = int(number)
        except ValueError:
            raise UserError(f"--counts: {label}: {number!r} is no whole number; write e.g. disgust:4000,fear:2000") from None
    return counts


def ask(
    counts: Mapping[str, int],
    *,
    seed: int = 0,
    valid: float = 0.1,
    format: str = "folders",
    least_difference: float = 10.0,
    mark: bool = False,
    **settings: Any,
) -> DatasetRequest:
    """A checked request under the names of the command line; ``settings`` as of :class:`generation.request.FaceRequest`.

    Raises:
        UserError: a setting is unknown or out of range.
    """
    from configs.loader import validate
    from generation.dataset.blocks import DatasetRequest

    for name, why in _NOT_FOR_SETS.items():
        if name in settings:
            raise UserError(f"{name}: {why}; leave it out")
    asked = {"valid_share": valid, "form": format, "least_difference": least_difference, "mark": mark}
    return validate(DatasetRequest, {"counts": dict(counts), "seed": seed, **asked, "settings": settings}, "request")


def make_dataset(
    pipe: FacePipeline, request: DatasetRequest, folder: Path, *, command: str = "", state: PartialState | None = None
) -> dict[str, Any]:
    """Make the set in ``folder``, or go on with it; returns its manifest.

    Args:
        pipe: on the device of this process.
        command: how the set is made again; stored in manifest and card.
        state: Accelerate's state where several processes share the work; every one of them calls this.

    Raises:
        UserError: the folder holds another set, or cannot be written.
    """
    import shutil

    from generation.dataset.files import MANIFEST, write_dataset

    main = state is None or state.is_main_process
    request = _resolved(request)
    folder = Path(folder)
    if main:
        _open_work(folder, request, pipe.weights)
    if state is not None:
        state.wait_for_everyone()
    if not (folder / MANIFEST).exists():
        selection = collect(pipe, request, folder / WORK, state)
        if main:
            write_dataset(selection, folder / WORK, folder, pipe, command)
    if main:
        shutil.rmtree(folder / WORK, ignore_errors=True)
    if state is not None:
        state.wait_for_everyone()
    content: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    return content


def _resolved(request: DatasetRequest) -> DatasetRequest:
    """The same request with every setting of its faces spelt out and checked."""
    whole = request.candidates(0).model_dump(exclude={"emotion", "count", "seed"})
    return request.model_copy(update={"settings": whole})


def _open_work(folder: Path, request: DatasetRequest, weights: dict[str, str]) -> None:
    """Prepare the folder, or make sure that what it holds belongs to this request."""
    import shutil

    from engine.storage.atomic import atomic_write_text, explain_write_error
    from generation.dataset.files import MANIFEST

    wanted = {"request": request.model_dump(mode="json"), "weights_sha256": weights}
    stored = folder / WORK / "request.json"
    try:
        for place in (folder / MANIFEST, stored):
            if place.is_file():
                found = json.loads(place.read_text(encoding="utf-8"))
                if not _is_same(found, request, weights):
                    raise UserError(f"{folder}: holds a set made with other settings or weights; choose another --out")
                return
        if folder.is_dir() and any(path.name != WORK for path in folder.iterdir()):
            raise UserError(f"{folder}: is not empty and holds no set of this program; choose another --out")
        # Without its request, what an earlier run left says nothing.
        shutil.rmtree(folder / WORK, ignore_errors=True)
        (folder / WORK).mkdir(parents=True)
        atomic_write_text(stored, json.dumps(wanted, indent=2) + "\n")
    except OSError as error:
        raise UserError(f"{folder}: cannot be used: {explain_write_error(error)}") from None
    except ValueError:
        raise UserError(f"{stored}: cannot be read; remove {folder} and start anew") from None


def _is_same(found: dict[str, Any], request: DatasetRequest, weights: dict[str, str]) -> bool:
    """Whether a stored request asks for the same; settings that came after it stand at their defaults."""
    from generation.dataset.blocks import DatasetRequest

    try:
        stored = _resolved(DatasetRequest.model_validate_json(json.dumps(found["request"])))
        return stored == request and found["weights_sha256"] == weights
    except (KeyError, TypeError, ValueError, UserError):
        return False


def collect(pipe: FacePipeline, request: DatasetRequest, blocks: Path, state: PartialState | None = None) -> Selection:
    """Draw blocks, this process its share of them, until the set is full or its candidates are used up."""
    from tqdm import tqdm

    from generation.dataset.blocks import block_path, draw_block, load_block, store_block
    from generation.dataset.selection import Selection

    rank, world = (0, 1) if state is None else (state.process_index, state.num_processes)
    selection = Selection(request)
    side = pipe.tokenizer.config.size
    with tqdm(desc="drawing", unit="block", leave=False, disable=None if rank == 0 else True) as bar, _stop_at_ctrl_c():
        while wanted := selection.missing():
            mine = share_of(wanted, len(request.emotions), rank, world)
            bar.total = (bar.total or 0) + len(mine)
            for number in mine:
                if not block_path(blocks, number).exists():
                    store_block(blocks, draw_block(pipe, request, number), side)
                bar.update()
            if state is not None:
                state.wait_for_everyone()
            for number in wanted:
                selection.add(load_block(blocks, request, number))
    return selection


def share_of(wanted: Sequence[int], emotions: int, rank: int, world: int) -> list[int]:
    """The numbers of the blocks that process ``rank`` of ``world`` draws.

    Of every emotion each draws as many, to within one: some emotions take four times as many draws as others.
    """
    return [number for number in wanted if number // emotions % world == rank]


@contextmanager
def _stop_at_ctrl_c() -> Iterator[None]:
    """Ctrl-C ends the process and not only the request: a block with some of its faces missing must not be kept."""
    import signal
    import threading

    def stop(_number: int, _frame: object) -> None:
        print("\nstopped by Ctrl-C; the same command goes on", file=sys.stderr)
        raise SystemExit(INTERRUPT_EXIT)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


def format_table(content: dict[str, Any], folder: Path) -> str:
    """What was made, emotion by emotion."""
    lines = [f"{'emotion':<10} {'asked':>6} {'delivered':>9} {'first try':>9} {'draws':>6} {'refused':>7} {'near copies':>11}"]
    for name, row in content["emotions"].items():
        lines.append(
            f"{name:<10} {row['asked']:>6} {row['delivered']:>9} {row['accepted_at_first_try']:>9.2f} "
            f"{row['draws_per_candidate']:>6.2f} {row['refused']:>7} {row['near_duplicates_left_out']:>11}"
        )
    return "\n".join([*lines, f"in {folder}"])


def main(argv: Sequence[str]) -> int:
    """Parse, make, write; returns the exit code."""
    arguments = build_parser().parse_args(argv)
    from encoder.emotions import EMOTION_NAMES

    counts = dict.fromkeys(EMOTION_NAMES, arguments.per_emotion) if arguments.counts is None else parse_counts(arguments.counts)
    faces = ("guidance", "steps", "temperature", "threshold", "max_tries", "source", "precision")
    names = ("seed", "valid", "format", "least_difference", "mark", *faces)
    request = ask(counts, **{name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None})
    from generation.pipeline import FacePipeline
    from generation.processes import process_state

    state = process_state(arguments.device)
    pipe = FacePipeline.from_pretrained(arguments.weights, encoder=arguments.encoder).to(str(state.device))
    command = shlex.join(["python", "-m", "generation.dataset", *argv])
    content = make_dataset(pipe, request, arguments.out, command=command, state=state)
    if not state.is_main_process:
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


cli = command(main)


if __name__ == "__main__":
    cli()
