"""What steps, guidance and temperature do to generated faces, before any of them is refused: one table and one plot."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.cli import UserError, run

if TYPE_CHECKING:
    from encoder.classifier import EmotionEncoder
    from encoder.face_set import FaceSet
    from eval.real_reference import RealFaces
    from generation.pipeline import FacePipeline
    from generation.request import FaceRequest

EXAMPLES = """examples:
  python -m eval.sweep --data DATA --steps 4,8,16 --guidance 0,1,3,5 --temperature 0.6,0.8,1 --out out/sweep
  python -m eval.sweep --data DATA --steps 8,12 --guidance 3 --temperature 0.8 --per-emotion 128
  python -m eval.sweep --data drawn --source drawn --weights runs/vqvae/weights --encoder pretrained/encoder

Every point draws the same seeds. Points that are done are kept in OUT/points: run the same command again to go on, or add
values to it. Real faces are those of --split valid; --split test is for the last word on settings already chosen.

OUT/sweep.csv, sweep.json, sweep.md and sweep.png hold, per point, for all faces and for each emotion: the share of faces to
which the encoder and the second judge give the emotion asked for; diversity (mean distance between faces of one emotion);
Fréchet and kernel distance, density and coverage against real faces, in both judges' features. "relative" is the ratio to
the floor: what as many real train faces get (for accuracy: what real faces of that label get; for the kernel distance, whose
floor is about zero, the difference). Intervals are 95 %: Wilson for shares, else bootstrap over the generated faces."""


def build_parser() -> argparse.ArgumentParser:
    """The command line; imports nothing heavy."""
    parser = argparse.ArgumentParser(
        prog="python -m eval.sweep",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", required=True, help='folder with FER-2013, or "drawn"')
    parser.add_argument("--split", choices=("valid", "test"), default="valid", help="held-out faces (default: %(default)s)")
    parser.add_argument("--steps", type=_numbers, default=(4, 8, 16), metavar="4,8,16")
    parser.add_argument("--guidance", type=_numbers, default=(0, 1, 3, 5), metavar="0,1,3,5")
    parser.add_argument("--temperature", type=_numbers, default=(0.6, 0.8, 1), metavar="0.6,0.8,1")
    parser.add_argument("--per-emotion", type=int, default=32, help="faces of each emotion and point (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=50000, help="of the first face (default: %(default)s)")
    parser.add_argument("--source", choices=("fer2013", "faces128", "drawn"), default="fer2013", help="default: %(default)s")
    parser.add_argument("--bootstrap", type=int, default=100, help="rounds (default: %(default)s)")
    parser.add_argument("--weights", default="pretrained", help="default: %(default)s")
    parser.add_argument("--encoder", help="another folder for the encoder")
    parser.add_argument("--judge", default="pretrained/judge", help="default: %(default)s")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, default=Path("out/sweep"), help="default: %(default)s")
    return parser


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(dict.fromkeys(float(part) for part in text.split(",")))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of numbers like 1,2.5,4") from None


def point_name(request: FaceRequest) -> str:
    """Name of a point's file."""
    return f"steps-{request.steps}_guidance-{request.guidance:g}_temperature-{request.temperature:g}"


def plan(arguments: argparse.Namespace) -> dict[str, dict[str, FaceRequest]]:
    """Per point, the request of each emotion; every setting is checked here, before anything is drawn.

    Raises:
        UserError: a setting out of range.
    """
    from encoder.emotions import EMOTION_NAMES
    from generation.pipeline import FacePipeline

    points = {}
    for steps in arguments.steps:
        if steps != int(steps):
            raise UserError(f"--steps: {steps:g} is no whole number")
        for guidance in arguments.guidance:
            for temperature in arguments.temperature:
                settings: dict[str, Any] = {"steps": int(steps), "guidance": float(guidance), "temperature": float(temperature)}
                requests = {
                    name: FacePipeline.request(name, arguments.per_emotion, arguments.seed, source=arguments.source, **settings)
                    for name in EMOTION_NAMES
                }
                points[point_name(requests[EMOTION_NAMES[0]])] = requests
    return points


def measure_point(
    pipe: FacePipeline,
    judges: Mapping[str, EmotionEncoder],
    real: Mapping[str, RealFaces],
    requests: Mapping[str, FaceRequest],
    rounds: int,
) -> dict[str, Any]:
    """Draw every emotion's faces and measure them; nothing is refused."""
    import numpy as np

    from eval.real_reference import closeness, share

    batches = [pipe.draw_all(request) for request in requests.values()]
    seconds, count = sum(batch.seconds for batch in batches), sum(len(batch.faces) for batch in batches)
    any_request = next(iter(requests.values()))
    figures: dict[str, Any] = {
        "steps": any_request.steps,
        "guidance": any_request.guidance,
        "temperature": any_request.temperature,
        "faces": count,
        "faces_per_second": round(count / seconds, 2),
    }
    for name, judge in judges.items():
        read = [judge.predict(np.stack([face.image for face in batch.faces])) for batch in batches]
        found = closeness([each.embeddings.numpy() for each in read], real[name], rounds=rounds)
        hits = [each.distributions.argmax(dim=1).numpy() == emotion for emotion, each in enumerate(read)]
        for label, mine, recall in zip(requests, hits, real[name].recall, strict=True):
            found[label]["accuracy"] = share(mine, recall)
        found["all"]["accuracy"] = share(np.concatenate(hits), float(np.mean(real[name].recall)))
        figures[name] = found
    return figures


def main(argv: Sequence[str]) -> int:
    """Measure the points that are not there yet and write the table of all that this command names."""
    arguments = build_parser().parse_args(argv)
    if arguments.per_emotion < 2 or arguments.bootstrap < 2:
        raise UserError("--per-emotion and --bootstrap: give at least 2")
    points = plan(arguments)
    from tqdm import tqdm

    from encoder.classifier import EmotionEncoder
    from encoder.evaluate import resolve_folder
    from encoder.kept_rows import keep_row, kept_row
    from encoder.weights import WEIGHTS_FILE, file_sha256
    from eval.real_reference import read_real_faces
    from eval.sweep_report import write_report
    from generation.pipeline import FacePipeline
    from vqvae.token_cache import array_sha256

    pipe = FacePipeline.from_pretrained(arguments.weights, encoder=arguments.encoder).to(arguments.device)
    folder = resolve_folder(arguments.judge)
    judges = {"encoder": pipe.encoder, "judge": EmotionEncoder.from_pretrained(folder).to(pipe.encoder.device)}
    train, held_out = _load(arguments, pipe.tokenizer.config.size)
    made_from = {
        "data": held_out.source,
        "faces_sha256": array_sha256(train.images, held_out.images),
        "split": arguments.split,
        "seed": arguments.seed,
        "per_emotion": arguments.per_emotion,
        "source": arguments.source,
        "bootstrap": arguments.bootstrap,
        "weights": {**pipe.weights, "judge": file_sha256(folder / WEIGHTS_FILE)},
    }
    done = {name: kept_row(arguments.out / "points" / f"{name}.json", made_from) for name in points}
    missing = [name for name in points if done[name] is None]
    if missing:
        real = read_real_faces(judges, train, held_out, arguments.per_emotion)
        for name in tqdm(missing, desc="points", disable=None):
            found = measure_point(pipe, judges, real, points[name], arguments.bootstrap)
            done[name] = found
            keep_row(arguments.out / "points" / f"{name}.json", made_from, found)
    print(write_report(arguments.out, made_from, [found for found in done.values() if found is not None]))
    return 0


def _load(arguments: argparse.Namespace, size: int) -> tuple[FaceSet, FaceSet]:
    """(train, held-out) faces at the generated faces' size, so that all take the same way into the judges."""
    if arguments.data == "drawn":
        from encoder.drawn import drawn_set
        from encoder.emotions import NUM_EMOTIONS

        count = NUM_EMOTIONS * 10 * arguments.per_emotion
        return drawn_set("train", count, size=size), drawn_set(arguments.split, 50 * NUM_EMOTIONS, size=size)
    from encoder.datasets import load_faces

    folder = Path(arguments.data).expanduser()
    return load_faces(folder, "train", size=size), load_faces(folder, arguments.split, size=size)


def cli() -> None:
    """Entry point."""
    run(main)


if __name__ == "__main__":
    cli()
