"""Classification accuracy score: train the encoder's network on generated faces only, test it on real ones."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from encoder.data.face_set import FaceSet
from encoder.emotions import EMOTION_NAMES, Emotion
from eval.experiments.experiment import Figures
from eval.experiments.options import DEFAULT
from eval.experiments.training import RowResult, TrainingRow, Trainings, numbers
from eval.faces.generated import GeneratedSet
from eval.faces.mixing import SCHEMES, Scheme, from_generated, labelled, scheme_labels
from eval.measures.trainings import compared, figures_of


class Cas(Trainings):
    """Real faces by both schemes of labels (where there are votes), then generated ones by size."""

    name = "cas"
    examples = """examples:
  python -m eval.cas --data DATA --out out/cas
  python -m eval.cas --data DATA --out out/cas-small --epochs 4 --widths 16,32,64 --times 1
  python -m eval.cas --data DATA --out out/cas --generated faces/ --seeds 0,1,2 train.batch_size=256

Rows: real train faces by their FER-2013 labels and by their FER+ majority, and generated faces in the proportions of the real
ones, --times as many. Every row takes the same number of steps. Rows of generated faces see no real face, not even in
validation. Tested on the real test split by both label schemes (Ravuri & Vinyals, 2019). Stopped at any moment, the same
command goes on. Without --generated the faces are made in OUT/generated, which takes the longest. Seeds may be added later;
sizes, too, where --generated names a set that is large enough.

exit codes: 0 done, 2 bad input, 130 stopped by Ctrl-C and 143 by SIGTERM."""

    @classmethod
    def options(cls, parser: argparse.ArgumentParser) -> None:
        super().options(parser)
        parser.add_argument("--times", default="1,5", help=f"sizes relative to train ({DEFAULT})")

    def check(self) -> None:
        self.times = numbers("--times", self.arguments.times)

    def declare(self) -> list[TrainingRow]:
        """Rows of real faces, which the others are measured against, first."""
        train, config = self.splits["train"], self.config
        real = {name: int(np.sum(train.labels == k)) for k, name in enumerate(EMOTION_NAMES)}
        held_out = {name: max(2, count // 10) for name, count in real.items() if count}
        sizes = {f"{ratio:g}": {name: round(ratio * real[name]) for name in held_out} for ratio in self.times}
        largest = sizes[f"{max(self.times):g}"]
        made = self.obtain({name: largest[name] + held_out[name] for name in largest})
        self.made_from, self.steps = self.described(made), self.steps_for(len(train))
        rows = [
            TrainingRow(f"real-{scheme}", f"real, {title}", partial(self._real, scheme), config)
            for scheme, title in SCHEMES.items()
            if scheme == "fer2013" or train.vote_counts is not None
        ]
        return rows + [
            TrainingRow(f"generated-{size}x", f"generated, {size} ×", partial(_cut, made, counts, held_out), config)
            for size, counts in sizes.items()
        ]

    def _real(self, scheme: Scheme) -> tuple[FaceSet, FaceSet]:
        return labelled(self.splits["train"], scheme), labelled(self.splits["valid"], scheme)

    def tabulate(self, results: Mapping[str, RowResult]) -> tuple[Figures, list[str], list[list[Any]]]:
        """By each scheme of labels accuracy and macro F1, and accuracy relative to that of real faces."""
        rounds, columns = self.arguments.rounds, ["trained on", "faces", "trainings"]
        labels: dict[Scheme, Any] = {name: scheme_labels(self.splits["test"], name) for name in SCHEMES}
        labels = {name: each for name, each in labels.items() if (each >= 0).any() and f"real-{name}" in results}
        for scheme, each in labels.items():
            title = SCHEMES[scheme]
            columns += [f"accuracy, {title} ({int((each >= 0).sum()):,} test faces)", f"macro F1, {title}"]
            columns.append(f"relative accuracy, {title}")
        rows: Figures = {}
        lines = []
        for name, found in results.items():
            rows[name] = {**found.facts(), "test": {}}
            line: list[Any] = [found.row.title, found.train_faces, len(found.predictions)]
            for scheme, each in labels.items():
                base = results[f"real-{scheme}"].predictions
                figures = figures_of(each, found.predictions, rounds=rounds)
                relative = compared(each, found.predictions, base, ratio=True, rounds=rounds)
                faces = int((each >= 0).sum())
                rows[name]["test"][scheme] = {"faces": faces, "figures": figures, "relative_to_real": relative}
                line += [figures["accuracy"], figures["macro_f1"], relative["accuracy"]]
            lines.append(line)
        note = (
            f"Real test split; {self.steps:,} steps a training; logits averaged over face and mirror image. Relative accuracy: "
            "to the network trained on real faces with labels of the same scheme. Brackets: 95 %, bootstrap over test faces and "
            f"trainings. `{self.command}`"
        )
        head = {"command": self.command, "split": "test", "steps": self.steps}
        return {**head, "rows": rows, "notes": [note]}, columns, lines


def _cut(made: GeneratedSet, counts: Mapping[str, int], held_out: Mapping[str, int]) -> tuple[FaceSet, FaceSet]:
    """The first faces of each emotion for validation, whatever the size, and those after them to train on."""
    there = {name: np.flatnonzero(made.labels == Emotion[name.upper()]) for name in counts}
    train = [there[name][held_out[name] : held_out[name] + count] for name, count in counts.items()]
    valid = [there[name][: held_out[name]] for name in counts]
    faces = from_generated(made)
    return faces.subset(np.concatenate(train)), faces.subset(np.concatenate(valid))
