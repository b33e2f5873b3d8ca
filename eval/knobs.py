"""What each setting of generation does on its own: one is changed at a time from a base, the defaults with no face refused."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from configs.cli import UserError, command, command_parser
from eval.points import accuracies, add_arguments, measure_missing, numbers, read, set_up, whole

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from encoder.inference.emotion_encoder import EmotionEncoder
    from eval.measures.real_reference import RealFaces
    from generation.faces import FaceBatch
    from generation.pipeline import FacePipeline
    from generation.request import FaceRequest

EXAMPLES = """examples:
  python -m eval.knobs --data DATA --out out/knobs
  python -m eval.knobs --data DATA --only encoder-guidance,candidates --encoder-guidance 0,2,4,8,16
  python -m eval.knobs --data DATA --per-emotion 64 --out out/knobs-64
  python -m eval.knobs --data drawn --weights runs/vqvae/weights --encoder pretrained/encoder --only steps --steps 4,8

Written to OUT: knobs.md, knobs.csv, knobs.json and knobs.png, a chart a knob. For each value of each knob: the share of faces
to which the second judge and the encoder give the emotion asked for; diversity (mean distance between faces of one emotion,
in the second judge's features) as a multiple of that of real train faces; seconds a face, and as a multiple of the base's.
Faces are first draws, none refused, but for threshold, max-tries and best-of: there only those that the encoder accepts count.
bf16 is faster only where the hardware multiplies it; elsewhere leave it out (--precision float32).
Intervals are 95 %: Wilson for shares, else bootstrap.

All points draw the same seeds. Those that are done are kept in OUT/points: run the same command again to go on, or add
values. As many faces as by default take about 9 minutes where 15 guided faces a second are drawn; do nothing else meanwhile,
or the seconds say nothing. With --data drawn the source of the base is drawn."""


@dataclass(frozen=True)
class Knob:
    """One setting: the values it takes if none are named, and what else must be on for it to do anything."""

    values: tuple[Any, ...]
    needs: Mapping[str, Any] = field(default_factory=dict)


# By the names of FaceRequest; in the order of the table and, three a row, of the charts.
KNOBS: Mapping[str, Knob] = {
    "steps": Knob((4, 8, 12, 16)),
    "guidance": Knob((0, 1, 3, 5)),
    "temperature": Knob((0.6, 0.8, 1)),
    "encoder_guidance": Knob((0, 1, 4, 16)),
    "candidates": Knob((2, 4, 8), {"encoder_guidance": 4.0}),
    "identity": Knob((False, True)),
    "threshold": Knob((0, 0.5, 0.8)),
    "max_tries": Knob((1, 2, 4, 32), {"threshold": 0.5}),
    "best_of": Knob((1, 2, 4, 8), {"threshold": 0.5}),
    "source": Knob(("fer2013", "faces128")),
    "precision": Knob(("float32", "bf16")),
    "intensity": Knob((0.25, 0.5, 0.75, 1)),
    "avoidance": Knob((0, 0.25, 0.5, 1)),
}
WHOLE = ("steps", "candidates", "max_tries", "best_of")
# What each emotion is guided away from while avoidance is varied: one that it is often taken for.
AVOIDED: Mapping[str, str] = {
    "anger": "disgust",
    "disgust": "anger",
    "fear": "surprise",
    "happiness": "surprise",
    "sadness": "neutral",
    "surprise": "fear",
    "neutral": "sadness",
}


def option(knob: str) -> str:
    """How a knob is spelled on the command line and in tables."""
    return knob.replace("_", "-")


def build_parser() -> argparse.ArgumentParser:
    """The command line; imports nothing heavy."""
    parser = command_parser("python -m eval.knobs", __doc__, EXAMPLES)
    add_arguments(parser, per_emotion=24, out="out/knobs")
    parser.add_argument("--only", type=_words, metavar="KNOB,KNOB", help=f"default: all of {', '.join(map(option, KNOBS))}")
    for name, knob in KNOBS.items():
        if name == "identity":  # off or on: nothing to choose
            continue
        values = ",".join(map(str, knob.values))
        kind = _words if isinstance(knob.values[0], str) else numbers
        on = "".join(f" with {option(other)} {value:g}" for other, value in knob.needs.items())
        parser.add_argument(f"--{option(name)}", type=kind, default=knob.values, metavar="LIST", help=f"default: {values}{on}")
    return parser


def _words(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.strip() for part in text.split(",")))


@dataclass(frozen=True)
class Row:
    """A line of the table: a value of a knob, whether it is the default, and the name of the point that has it."""

    knob: str
    value: Any
    default: bool
    point: str


@dataclass(frozen=True)
class Point:
    """All settings of one point, and the request of each emotion that they make."""

    settings: Mapping[str, Any]
    requests: Mapping[str, FaceRequest]


def label(value: Any) -> str:
    """A knob's value as it is written."""
    if value is None or isinstance(value, bool):
        return "on" if value else "off"
    return value if isinstance(value, str) else f"{value:g}"


def base_settings(source: str) -> dict[str, Any]:
    """The settings from which one is changed at a time: defaults, nothing avoided, and no verification (threshold None)."""
    from generation.request import FaceRequest

    stored = {name: field.default for name, field in FaceRequest.model_fields.items() if name in KNOBS}
    settings = {**stored, "source": source, "threshold": None, "intensity": 1.0, "avoidance": 0.0}
    return {name: settings[name] for name in KNOBS}


def plan(arguments: argparse.Namespace) -> tuple[list[Row], dict[str, Point]]:
    """Rows of the table, and the points that they need, the base first; every setting is checked here.

    Raises:
        UserError: an unknown knob, or a value out of range.
    """
    chosen = tuple(name.replace("-", "_") for name in arguments.only or KNOBS)
    for name in chosen:
        if name not in KNOBS:
            raise UserError(f"--only: no knob {option(name)!r}; known are {', '.join(map(option, KNOBS))}")
    from generation.request import FaceRequest

    base = base_settings("drawn" if arguments.data == "drawn" else "fer2013")
    default = {**base, "threshold": FaceRequest.model_fields["threshold"].default}
    points = {"base": _point(base, arguments)}
    rows = []
    for name in (name for name in KNOBS if name in chosen):
        knob = KNOBS[name]
        for value in _values(name, getattr(arguments, name, knob.values), base):
            settings = {**base, **knob.needs, name: value}
            point = point_name(settings, base)
            points.setdefault(point, _point(settings, arguments))
            rows.append(Row(name, value, value == default[name], point))
    return rows, points


def _values(name: str, given: Sequence[Any], base: Mapping[str, Any]) -> list[Any]:
    """Those given and, where the knob works on its own, that of the base: sorted numbers, words as given."""
    values = [whole(f"--{option(name)}", value) if name in WHOLE else value for value in given]
    if not KNOBS[name].needs:
        values = [base[name], *(value for value in values if value != base[name])]
    numeric = [value for value in values if isinstance(value, int | float)]
    return [value for value in values if value not in numeric] + sorted(numeric)


def point_name(settings: Mapping[str, Any], base: Mapping[str, Any]) -> str:
    """Name of a point's file: what differs from the base."""
    changed = [f"{option(name)}-{label(value)}" for name, value in settings.items() if value != base[name]]
    return "_".join(changed) or "base"


def _point(settings: Mapping[str, Any], arguments: argparse.Namespace) -> Point:
    from encoder.emotions import EMOTION_NAMES
    from generation.pipeline import FacePipeline

    given = {name: value for name, value in settings.items() if name != "avoidance" and value is not None}
    requests = {}
    for name in EMOTION_NAMES:
        away = {"avoid": AVOIDED[name], "avoidance": settings["avoidance"]} if settings["avoidance"] else {}
        requests[name] = FacePipeline.request(name, arguments.per_emotion, arguments.seed, **given, **away)
    return Point(settings, requests)


def measure_point(
    pipe: FacePipeline, judges: Mapping[str, EmotionEncoder], real: Mapping[str, RealFaces], point: Point, rounds: int
) -> dict[str, Any]:
    """Draw every emotion's faces under one point's settings and measure them."""
    import numpy as np

    from encoder.emotions import EMOTION_NAMES
    from eval.measures.real_reference import diversity

    batches = [_draw(pipe, request, verified=point.settings["threshold"] is not None) for request in point.requests.values()]
    seconds, count = sum(batch.seconds for batch in batches), sum(len(batch.faces) for batch in batches)
    figures: dict[str, Any] = {
        "settings": dict(point.settings),
        "faces": count,
        "asked": sum(request.count for request in point.requests.values()),
        "drawn": sum(batch.tried for batch in batches),
        "seconds": round(seconds, 3),
        "seconds_per_face": float(f"{seconds / count:.4g}") if count else None,
    }
    unwanted = [EMOTION_NAMES.index(AVOIDED[name]) for name in EMOTION_NAMES]
    for name, judge in judges.items():
        readings = read(judge, batches)
        spread = diversity([each.embeddings.numpy() for each in readings], real[name], rounds=rounds)
        figures[name] = {
            emotion: {"accuracy": accuracy, "diversity": spread[emotion]}
            for emotion, accuracy in accuracies(readings, real[name].recall).items()
        }
        seen = np.concatenate([each.distributions[:, column] for each, column in zip(readings, unwanted, strict=True)])
        figures[name]["avoided"] = _mean(seen, rounds) if count else None
    return figures


def _mean(values: npt.NDArray[np.float32], rounds: int) -> dict[str, Any]:
    from eval.measures.distances import bootstrap

    low, high = bootstrap(lambda rows: float(values[rows].mean()), len(values), rounds=rounds)
    return {"value": round(float(values.mean()), 4), "interval": [round(low, 4), round(high, 4)]}


def _draw(pipe: FacePipeline, request: FaceRequest, *, verified: bool) -> FaceBatch:
    """First draws, or the faces that the encoder accepts.

    Raises:
        KeyboardInterrupt: also where ``generate`` took it for the wish to have the faces accepted by then; a point of such
            faces would be kept as if it were whole.
    """
    if not verified:
        return pipe.draw_all(request)
    batch = pipe.generate(request)
    if batch.interrupted:
        raise KeyboardInterrupt
    return batch


def main(argv: Sequence[str]) -> int:
    """Measure the points that are not there yet and write the table of all that this command names."""
    arguments = build_parser().parse_args(argv)
    if arguments.per_emotion < 2 or arguments.bootstrap < 2:
        raise UserError("--per-emotion and --bootstrap: give at least 2")
    rows, points = plan(arguments)
    import torch

    from engine.devices import resolve_device
    from eval.knobs_report import write_report

    # Seconds of another machine must not stand in the same table.
    machine = {"device": resolve_device(arguments.device).type, "threads": torch.get_num_threads()}
    bench = set_up(arguments, base=points["base"].settings, avoided=AVOIDED, **machine)
    # The first pass through the networks takes longer than any other, in each precision.
    for precision in {point.settings["precision"] for point in points.values()}:
        bench.pipe.draw_all(points["base"].requests["neutral"].model_copy(update={"count": 2, "precision": precision}))

    def measure(real: Mapping[str, RealFaces], point: Point) -> dict[str, Any]:
        return measure_point(bench.pipe, bench.judges, real, point, arguments.bootstrap)

    print(write_report(arguments.out, bench.made_from, rows, measure_missing(bench, arguments, points, measure)))
    return 0


cli = command(main)


if __name__ == "__main__":
    cli()
