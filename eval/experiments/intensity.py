"""Does a face show more of an emotion when more is asked for? Two readers look at faces over rising intensity."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from configs.cli import UserError
from encoder.emotions import EMOTION_NAMES, Emotion
from engine.storage.atomic import write_json
from engine.storage.provenance import weights_text
from eval.experiments import options
from eval.experiments.experiment import DrawingExperiment, Figures, read
from eval.measures.distances import bootstrap
from eval.output.chart import Panel, in_rows, write_chart
from eval.output.sheet import write_sheet

SHEET_FRAMES = 8
LINES = {"encoder": "encoder", "judge": "second judge"}


class Intensity(DrawingExperiment[str]):
    """The points are emotions; in each one knob, intensity, is turned from 0 to 1."""

    name = "intensity"
    columns = ("emotion", "reader", "at 0", "at 1", "rank", "person", "falls")
    examples = """examples:
  python -m eval.intensity
  python -m eval.intensity --count 64 --identity --out out/intensity-identity
  python -m eval.intensity --emotions fear,happiness --levels 6 --guidance 1.5
  python -m eval.intensity --sheet intensity.png

For each emotion but neutral the same seeds are drawn at every level, without any selection, and both readers say how
probable the emotion is. "rank" is Spearman's correlation of level and probability over all faces, "person" its mean over
seeds (a seed whose readings never change counts 0), "falls" the steps at which the mean goes down. Written: intensity.json
and the plot intensity.png; with --sheet also one person a row at rising intensity, best of a few draws."""

    @classmethod
    def options(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--count", type=int, default=32, help=f"faces of each emotion and level ({options.DEFAULT})")
        parser.add_argument("--levels", type=int, default=11, help=f"intensities from 0 to 1 ({options.DEFAULT})")
        parser.add_argument("--emotions", type=options.words, help="default: all but neutral")
        parser.add_argument("--seed", type=int, default=0, help=f"of the first face ({options.DEFAULT})")
        parser.add_argument("--identity", action="store_true", help="change only brows, eyes and mouth of one person a seed")
        options.add_settings(parser, "guidance", "autoguidance", "encoder_guidance", "steps", "temperature", "look")
        options.add_networks(parser)
        options.add_out(parser, cls.name, sheet="also write faces: one emotion and one person a row")

    def plan(self) -> dict[str, str]:
        emotions = options.parse_emotions(self.arguments.emotions, without=Emotion.NEUTRAL.label)
        if Emotion.NEUTRAL.label in emotions:
            raise UserError("--emotions: neutral is where intensity begins; leave it out")
        if not 3 <= self.arguments.levels <= 101:
            raise UserError(f"--levels: must lie between 3 and 101, got {self.arguments.levels}")
        options.at_least(self.arguments, count=2)
        self.levels = [number / (self.arguments.levels - 1) for number in range(self.arguments.levels)]
        self.settings = options.given_settings(self.arguments)
        return dict(zip(emotions, emotions, strict=True))

    def measure(self, point: str) -> Figures:
        """How the probability of one emotion rises, by both readers; the same seeds, without any selection, at each level."""
        from generation.people import People

        asked, column, people = self.arguments, EMOTION_NAMES.index(point), None
        seen: dict[str, list[Any]] = {name: [] for name in self.readers}
        for level in self.levels:
            settings = {"intensity": level, **self.settings}
            request = self.pipe.request(point, asked.count, asked.seed, **settings)
            people = people or People(self.pipe, request)
            batch = self.pipe.draw_all(request, people=people)
            seen["encoder"].append([face.verdict.distribution[column] for face in batch.faces])
            seen["judge"].append(read(self.judge, batch, self.side).distributions[:, column].tolist())
        return {name: rise(np.array(rows), self.levels) for name, rows in seen.items()}

    def lines(self, name: str, figures: Figures) -> Iterator[Sequence[str]]:
        for reader, row in figures.items():
            ranks = (row["mean"][0], row["mean"][-1], row["spearman"], row["spearman_within_seed"])
            yield name, reader, *(f"{value:.2f}" for value in ranks), str(row["falls"])

    def write(self, done: Mapping[str, Figures]) -> str:
        asked = self.arguments
        request = self.pipe.request(next(iter(done)), asked.count, asked.seed, **self.settings)
        report = {
            "count": asked.count,
            "seed": asked.seed,
            "levels": self.levels,
            "selection": "none, first draws",
            "settings": {**self.pipe.settled(request).as_record(), "emotion": None},
            "weights_sha256": self.pipe.weights,
            "emotions": done,
        }
        write_json(asked.out / "intensity.json", report)
        panels = [self._panel(emotion, figures) for emotion, figures in done.items()]
        seeds = f"seeds {asked.seed} to {asked.seed + asked.count - 1}"
        write_chart(asked.out / "intensity.png", in_rows(panels), f"{asked.count} faces a point, {seeds}, no selection")
        if asked.sheet is not None:
            self._write_sheet(list(done))
        return f"written to {asked.out}"

    def _panel(self, emotion: str, figures: Figures) -> Panel:
        lines = {
            LINES[reader]: [
                (level, mean, *ends) for level, mean, ends in zip(self.levels, row["mean"], row["interval"], strict=True)
            ]
            for reader, row in figures.items()
        }
        return Panel(emotion, "probability of the emotion", "intensity", lines)

    def _write_sheet(self, emotions: Sequence[str]) -> None:
        """Row i: the person of ``seed + i`` from neutral to the emotion."""
        seed, images, labels = self.arguments.seed, [], []
        for row, emotion in enumerate(emotions):
            strip = self.pipe.strip(f"neutral:{emotion}", SHEET_FRAMES, 1, seed + row, max_tries=8, **self.settings)
            images += [face.image for face in strip.rows[0]]
            labels += [f"{emotion} {number / (SHEET_FRAMES - 1):.2f}" for number in range(SHEET_FRAMES)]
        weights = weights_text(self.pipe.weights)
        texts = {"Emotion": ", ".join(emotions), "Seed": f"{seed} and following", "Weights SHA-256": weights}
        title = "AI-generated: one person a row, from neutral to full intensity"
        write_sheet(self.arguments.sheet, images, labels, SHEET_FRAMES, title, texts)


def spearman(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    """Spearman's rank correlation of two sequences of equal length, ties at their mean rank; 0 where one never changes.

    Raises:
        ValueError: lengths differ.
    """
    from scipy.stats import spearmanr

    one, two = np.ravel(a), np.ravel(b)
    return float(spearmanr(one, two).statistic) if np.ptp(one) and np.ptp(two) else 0.0


def rise(readings: npt.NDArray[np.float64], levels: Sequence[float]) -> dict[str, Any]:
    """How steadily (levels, faces) probabilities rise with the level.

    Returns:
        ``mean`` and its 95 % bootstrap ``interval`` at each level; Spearman's correlation with the level of the means
        (``spearman_of_means``), over all faces (``spearman``) and within each seed, averaged (``spearman_within_seed``);
        ``falls``, the steps at which the mean falls, and ``largest_fall``.
    """
    means = readings.mean(axis=1)
    steps = np.diff(means)
    faces = readings.shape[1]

    def interval(row: npt.NDArray[np.float64]) -> list[float]:
        return [round(value, 4) for value in bootstrap(lambda rows: float(row[rows].mean()), faces)]

    return {
        "mean": [round(float(mean), 4) for mean in means],
        "interval": [interval(row) for row in readings],
        "spearman_of_means": round(spearman(levels, means), 4),
        "spearman": round(spearman(np.repeat(levels, faces), readings), 4),
        "spearman_within_seed": round(float(np.mean([spearman(levels, column) for column in readings.T])), 4),
        "falls": int((steps < 0).sum()),
        "largest_fall": round(float(max(0.0, -steps.min())), 4),
    }
