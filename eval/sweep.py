"""What steps, guidance and temperature do to generated faces, before any of them is refused: one table and one plot."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from configs.cli import UserError, command, command_parser
from eval.points import accuracies, add_arguments, measure_missing, numbers, read, set_up, whole

if TYPE_CHECKING:
    from encoder.inference.emotion_encoder import EmotionEncoder
    from eval.measures.real_reference import RealFaces
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
    parser = command_parser("python -m eval.sweep", __doc__, EXAMPLES)
    add_arguments(parser, per_emotion=32, out="out/sweep")
    parser.add_argument("--steps", type=numbers, default=(4, 8, 16), metavar="4,8,16")
    parser.add_argument("--guidance", type=numbers, default=(0, 1, 3, 5), metavar="0,1,3,5")
    parser.add_argument("--temperature", type=numbers, default=(0.6, 0.8, 1), metavar="0.6,0.8,1")
    parser.add_argument("--source", choices=("fer2013", "faces128", "drawn"), default="fer2013", help="default: %(default)s")
    return parser


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
        number = whole("--steps", steps)
        for guidance in arguments.guidance:
            for temperature in arguments.temperature:
                settings: dict[str, Any] = {"steps": number, "guidance": float(guidance), "temperature": float(temperature)}
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
    from eval.measures.real_reference import closeness

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
        readings = read(judge, batches)
        found = closeness([each.embeddings.numpy() for each in readings], real[name], rounds=rounds)
        for label, accuracy in accuracies(readings, real[name].recall).items():
            found[label]["accuracy"] = accuracy
        figures[name] = found
    return figures


def main(argv: Sequence[str]) -> int:
    """Measure the points that are not there yet and write the table of all that this command names."""
    arguments = build_parser().parse_args(argv)
    if arguments.per_emotion < 2 or arguments.bootstrap < 2:
        raise UserError("--per-emotion and --bootstrap: give at least 2")
    points = plan(arguments)
    from eval.sweep_report import write_report

    bench = set_up(arguments, source=arguments.source)

    def measure(real: Mapping[str, RealFaces], requests: Mapping[str, FaceRequest]) -> dict[str, Any]:
        return measure_point(bench.pipe, bench.judges, real, requests, arguments.bootstrap)

    done = measure_missing(bench, arguments, points, measure)
    print(write_report(arguments.out, bench.made_from, list(done.values())))
    return 0


cli = command(main)


if __name__ == "__main__":
    cli()
