"""What steps, guidance and temperature do to generated faces, before any of them is refused: one table and one plot."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from encoder.emotions import EMOTION_NAMES
from eval.experiments.experiment import Figures
from eval.experiments.grid import Grid, GridPoint
from eval.experiments.options import DEFAULT, SETTINGS, numbers, whole
from eval.measures.floors import RealFeatures, as_ratio, closeness
from eval.output.chart import Panel, write_chart
from eval.output.table import NOTHING, markdown, write_files

if TYPE_CHECKING:
    from encoder.inference.emotion_encoder import Prediction
    from generation.faces import FaceBatch

VARIED = ("steps", "guidance", "temperature")
READERS = ("judge", "encoder")
MEASURES = ("accuracy", "diversity", "frechet", "kernel", "density", "coverage")
COLUMNS = (*VARIED, "accuracy, judge", "accuracy, encoder", "diversity / real", "Fréchet / floor", "kernel − floor",
           "density / floor", "coverage / floor", "faces/s")  # fmt: skip
# Share of the floor's coverage below which a setting has traded too much variety for accuracy.
LEAST_COVERAGE = 0.6
PLOTTED = {
    "accuracy": ("value", "accuracy, second judge"),
    "diversity": ("relative", "diversity / real"),
    "frechet": ("relative", "Fréchet / floor"),
    "coverage": ("relative", "coverage / floor"),
}


def order(figures: Mapping[str, Any]) -> tuple[float, ...]:
    """Where a point stands in tables."""
    return tuple(figures[name] for name in VARIED)


def best(points: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The point of highest accuracy by the second judge among those that keep ``LEAST_COVERAGE`` of the floor's coverage in
    its features; None where none does. Equal ones: more coverage, then fewer steps."""
    enough = [point for point in points if (point["judge"]["all"]["coverage"]["relative"] or 0.0) >= LEAST_COVERAGE]

    def rank(point: Mapping[str, Any]) -> tuple[float, ...]:
        figures = point["judge"]["all"]
        return figures["accuracy"]["value"], figures["coverage"]["relative"], -point["steps"]

    return max(enough, key=rank, default=None)


class Sweep(Grid):
    """Every combination of steps, guidance and temperature."""

    name = "sweep"
    per_emotion = 32
    examples = """examples:
  python -m eval.sweep --data DATA --steps 4,8,16 --guidance 0,1,3,5 --temperature 0.6,0.8,1 --out out/sweep
  python -m eval.sweep --data DATA --steps 8,12 --guidance 3 --temperature 0.8 --per-emotion 128
  python -m eval.sweep --data drawn --look drawn --weights runs/vqvae/weights --encoder pretrained/encoder

Every point draws the same seeds. Points that are done are kept in OUT/points: run the same command again to go on, or add
values to it. Real faces are those of --split valid; --split test is for the last word on settings already chosen.

OUT/sweep.csv, sweep.json, sweep.md and sweep.png hold, per point, for all faces and for each emotion: the share of faces to
which the encoder and the second judge give the emotion asked for; diversity (mean distance between faces of one emotion);
Fréchet and kernel distance, density and coverage against real faces, in both readers' features. "relative" is the ratio to
the floor: what as many real train faces get (for accuracy: what real faces of that label get; for the kernel distance, whose
floor is about zero, the difference). Intervals are 95 %: Wilson for shares, else bootstrap over the generated faces."""

    @classmethod
    def options(cls, parser: argparse.ArgumentParser) -> None:
        super().options(parser)
        parser.add_argument("--steps", type=numbers, default=(4, 8, 16), metavar="4,8,16", help="unmasking steps")
        parser.add_argument("--guidance", type=numbers, default=(0, 1, 3, 5), metavar="0,1,3,5", help="strengths of guidance")
        parser.add_argument("--temperature", type=numbers, default=(0.6, 0.8, 1), metavar="0.6,0.8,1", help="of the sampler")
        parser.add_argument("--look", "--source", default="fer2013", help=DEFAULT, **SETTINGS["look"])

    def plan(self) -> dict[str, GridPoint]:
        asked, points = self.arguments, {}
        steps = [whole("--steps", value) for value in asked.steps]
        for number, guidance, temperature in itertools.product(steps, asked.guidance, asked.temperature):
            settings = {"steps": number, "guidance": float(guidance), "temperature": float(temperature), "look": asked.look}
            points["_".join(f"{name}-{settings[name]:g}" for name in VARIED)] = self.point(settings)
        return points

    def load(self) -> None:
        super().load()
        self.made_from["look"] = self.arguments.look

    def head(self, point: GridPoint, batches: list[FaceBatch]) -> Figures:
        count = sum(len(batch.faces) for batch in batches)
        speed = round(count / sum(batch.seconds for batch in batches), 2)
        return {**{name: point.settings[name] for name in VARIED}, "faces": count, "faces_per_second": speed}

    def see(self, readings: list[Prediction], real: RealFeatures) -> Figures:
        return closeness([each.embeddings.numpy() for each in readings], real, rounds=self.arguments.bootstrap)

    def write(self, done: Mapping[str, Figures]) -> str:
        points = sorted(done.values(), key=order)
        chosen, out = best(points), self.arguments.out
        title = f"{self.faces_line()}, none refused, against {self.made_from['data']} {self.made_from['split']}"
        text = to_markdown(title, points, chosen)
        named = chosen and dict(zip(VARIED, order(chosen), strict=True))
        write_files(out, "sweep", {**self.made_from, "best": named, "points": points}, list(_lines(points)), text)
        write_chart(out / "sweep.png", _panels(points), title)
        return text


def _lines(points: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """One line of the CSV for each point, reader, emotion (or ``all``) and measure."""
    for point, reader, emotion, measure in itertools.product(points, READERS, ("all", *EMOTION_NAMES), MEASURES):
        if (found := point[reader][emotion].get(measure)) is not None:
            low, high = found["interval"]
            where = {"features": reader, "emotion": emotion, "measure": measure, "value": found["value"], "low": low}
            settings = {name: point[name] for name in (*VARIED, "faces_per_second")}
            yield {**settings, **where, "high": high, "floor": found["floor"], "relative": found["relative"]}


def to_markdown(title: str, points: Sequence[Mapping[str, Any]], chosen: Mapping[str, Any] | None) -> str:
    """One table for all faces and one of the accuracy of each emotion."""
    rows = []
    for point in points:
        shares = [_share(point[who]["all"]["accuracy"]) for who in READERS]
        relative = [_plain(point["judge"]["all"][name]["relative"]) for name in MEASURES[1:]]
        row = [*(f"{value:g}" for value in order(point)), *shares, *relative, f"{point['faces_per_second']:.1f}"]
        rows.append([f"**{cell}**" if point is chosen else cell for cell in row])
    emotions = [[" / ".join(f"{value:g}" for value in order(point)), *_of_emotions(point, "value")] for point in points]
    real = [f"{points[0][who]['all']['accuracy']['floor']:.2f} ({who})" for who in READERS]
    rule = f"highest accuracy by the second judge among points that keep {LEAST_COVERAGE:g} of the floor's coverage"
    return "\n".join(
        [
            f"{title}.\n",
            markdown(COLUMNS, rows),
            f"\nDistances in the second judge's features. Real faces are read right at a rate of {' and '.join(real)}.",
            f"Bold: {rule}.\n" if chosen is not None else f"No point qualifies as the best ({rule}).\n",
            markdown(["accuracy, judge", *EMOTION_NAMES], [*emotions, ["real faces", *_of_emotions(points[0], "floor")]]),
            "",
        ]
    )


def _of_emotions(point: Mapping[str, Any], key: str) -> list[str]:
    return [f"{point['judge'][emotion]['accuracy'][key]:.2f}" for emotion in EMOTION_NAMES]


def _share(found: Mapping[str, Any]) -> str:
    low, high = found["interval"]
    return f"{found['value']:.2f} ({low:.2f} to {high:.2f})"


def _plain(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.3g}"


def _panels(points: Sequence[Mapping[str, Any]]) -> list[list[Panel]]:
    """A row for each measure, a column for each number of steps, a line for each temperature, over guidance."""
    rows = []
    for measure, (kind, label) in PLOTTED.items():
        row: dict[int, dict[str, list[tuple[float, float, float, float]]]] = {}
        for point in points:
            found = point["judge"]["all"][measure]
            lines = row.setdefault(point["steps"], {})
            if found[kind] is not None:
                shown = as_ratio(found) if kind == "relative" else found
                line = lines.setdefault(f"temperature {point['temperature']:g}", [])
                line.append((point["guidance"], shown["value"], *shown["interval"]))
        rows.append([Panel(f"{number} steps", label, "guidance", lines) for number, lines in row.items()])
    return rows
