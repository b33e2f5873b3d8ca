"""Do generated faces repair neglected emotions? Real faces with generated disgust and fear against real faces alone."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from configs.cli import UserError
from configs.loader import to_yaml
from encoder.data.face_set import FaceSet
from encoder.emotions import NUM_EMOTIONS, parse_emotion
from eval.experiments.experiment import Figures
from eval.experiments.options import DEFAULT
from eval.experiments.training import RowResult, TrainingRow, Trainings, numbers
from eval.faces.mixing import SCHEMES, from_generated, joined, labelled, oversampled, scheme_labels
from eval.measures.trainings import compared, figures_of

# As in configs/encoder/stage2.yaml, with the whole of the classes' frequencies told to the loss.
STAGE2 = ("train.mixup=0.0", "train.trunk_rate=0.1", "train.trainable=last_stage", "train.logit_adjustment=1.0")
STAGE2_SHARE = 0.2
SHOWN = {"accuracy": "accuracy", "macro_f1": "macro F1", "recall_disgust": "disgust recall", "recall_fear": "fear recall"}
GAINS = tuple(SHOWN)[1:]


class Augmentation(Trainings):
    """Baselines first; names that start with ``generated`` are the rows to be judged."""

    name = "augmentation"
    examples = """examples:
  python -m eval.augmentation --data DATA --out out/augmentation --seeds 0,1,2
  python -m eval.augmentation --data DATA --out out/try --epochs 2 --widths 8,16,32 --amounts 500 --seeds 0
  python -m eval.augmentation --data DATA --generated faces/ --emotions disgust,peur --labels ferplus --seeds 0,1,2

Baselines: real faces alone; these followed by stage 2, which re-trains head and last stage for balanced classes
(--stage2 key=value changes its settings); and real faces with copies of those of the neglected emotions (oversampling), as
many as the generated ones. Against them: real faces with --amounts generated faces of each emotion, stage 2 after that, and the
same with every real face of train passed through the tokenizer (--weights), so that texture does not tell generated from real.
Last, every face in both looks, as it is and through the tokenizer (generated ones twice): of the copies, a baseline, and of
the generated ones. All take the same number of steps, stage 2 a fifth of it on top. Stopped at any moment, the same command
goes on, and seeds may be added later. Without --generated the faces are made in OUT/generated.

exit codes: 0 done, 2 bad input, 130 stopped by Ctrl-C and 143 by SIGTERM."""

    @classmethod
    def options(cls, parser: argparse.ArgumentParser) -> None:
        super().options(parser)
        parser.add_argument("--amounts", default="1000,4000", help=f"faces of each ({DEFAULT})")
        parser.add_argument("--emotions", default="disgust,fear", help=f"emotions to repair ({DEFAULT})")
        parser.add_argument("--labels", choices=("fer2013", "ferplus"), default="fer2013", help=f"of real faces ({DEFAULT})")
        parser.add_argument(
            "--stage2", action="append", default=[], metavar="KEY=VALUE", help="setting of stage 2; again for more"
        )

    def check(self) -> None:
        self.amounts = [int(number) for number in numbers("--amounts", self.arguments.amounts, whole=True)]
        if min(self.amounts) < 1:
            raise UserError("--amounts: give at least 1")
        self.emotions = [parse_emotion(name) for name in self.arguments.emotions.split(",")]
        self.stage2 = self.configured(*STAGE2, *self.arguments.stage2)

    def declare(self) -> list[TrainingRow]:
        """Real faces, then for each amount copies and generated faces, as they are and in other looks."""
        from eval.faces.look import through_tokenizer, tokenizer_of

        asked, config, stage2 = self.arguments, self.config, self.stage2
        train, valid = (labelled(self.splits[split], asked.labels) for split in ("train", "valid"))
        names = [emotion.label for emotion in self.emotions]
        made = self.obtain(dict.fromkeys(names, max(self.amounts)))
        self.steps = self.steps_for(len(train))
        facts = {"labels": asked.labels, "emotions": names, "amounts": self.amounts}
        self.made_from = self.described(made, **facts, stage2=to_yaml(stage2).splitlines())
        tokenizer = tokenizer_of(made.manifest, Path(asked.weights).expanduser())
        same_look = cache(lambda: through_tokenizer(train, tokenizer))
        counts = np.bincount(train.labels, minlength=NUM_EMOTIONS)

        def copied(faces: FaceSet, amount: int) -> FaceSet:
            return oversampled(faces, {int(emotion): int(counts[emotion]) + amount for emotion in self.emotions})

        def generated(amount: int) -> FaceSet:
            return from_generated(made.first(dict.fromkeys(names, amount)))

        def row(name: str, title: str, faces: Callable[[], FaceSet], *, after: str | None = None) -> TrainingRow:
            if after is None:
                return TrainingRow(name, title, lambda: (faces(), valid), config)
            return TrainingRow(name, f"{title}, then stage 2", lambda: (faces(), valid), stage2, STAGE2_SHARE, after)

        def added(amount: int) -> list[TrainingRow]:
            name, title = f"generated-{amount}", f"real faces, {amount:,} generated of each"
            copies, copied_title = f"oversampled-{amount}", f"real faces, {amount:,} copies of each"

            def with_generated() -> FaceSet:
                return joined(train, generated(amount))

            def both_looks() -> FaceSet:
                return joined(train, same_look(), generated(amount), generated(amount))

            return [
                row(copies, copied_title, lambda: copied(train, amount)),
                row(name, title, with_generated),
                row(f"{name}-stage2", title, with_generated, after=name),
                row(f"{name}-same-look", f"{title}, all through the tokenizer", lambda: joined(same_look(), generated(amount))),
                row(
                    f"{copies}-both-looks",
                    f"{copied_title}, all in both looks",
                    lambda: joined(copied(train, amount), copied(same_look(), amount)),
                ),
                row(f"{name}-both-looks", f"{title}, all in both looks", both_looks),
            ]

        real = [row("real", "real faces", lambda: train), row("stage2", "real faces", lambda: train, after="real")]
        return real + [each for amount in self.amounts for each in added(amount)]

    def tabulate(self, results: Mapping[str, RowResult]) -> tuple[Figures, list[str], list[list[Any]]]:
        """Figures of the rows; generated ones also as difference to the best baseline of each figure."""
        rounds, scheme = self.arguments.rounds, self.arguments.labels
        labels = scheme_labels(self.splits["test"], scheme)
        figures = {name: figures_of(labels, found.predictions, rounds=rounds) for name, found in results.items()}
        baselines = [name for name in results if not name.startswith("generated")]
        best = {key: max(baselines, key=lambda name: figures[name][key]["value"] or 0.0) for key in SHOWN}
        rows: Figures = {}
        lines = []
        for name, found in results.items():
            rows[name] = {**found.facts(), "steps": found.steps, "figures": figures[name]}
            gains: list[Any] = [None] * len(GAINS)
            if name not in baselines:
                over = {base: compared(labels, found.predictions, results[base].predictions, rounds=rounds) for base in baselines}
                rows[name]["gain_over"] = over
                gains = [over[best[key]][key] for key in GAINS]
            shown = (figures[name][key] for key in SHOWN)
            lines.append([found.row.title, found.train_faces, len(found.predictions), *shown, *gains])
        faces = int((labels >= 0).sum())
        note = (
            f"Real test split, {SCHEMES[self.arguments.labels]}, {faces:,} faces; {self.steps:,} steps a training (stage 2: a "
            "fifth more). Means over trainings; gain: over the baseline that is best by that very figure. Brackets: 95 %, "
            f"bootstrap over test faces and trainings. `{self.command}`"
        )
        head = {"command": self.command, "split": "test", "labels": SCHEMES[self.arguments.labels], "test_faces": faces}
        content = {**head, "steps": self.steps, "best_baseline": best, "rows": rows, "notes": [note]}
        columns = ["trained on", "faces", "trainings", *SHOWN.values(), *(f"{SHOWN[key]}, gain" for key in GAINS)]
        return content, columns, lines
