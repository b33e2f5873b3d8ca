"""How often generated faces show what was asked for: before selection, after it, by the encoder and by a second judge."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from encoder.emotions import EMOTION_NAMES
from engine.storage.atomic import write_json
from engine.storage.provenance import weights_text
from eval.experiments.experiment import DrawingExperiment, Figures, hits, read
from eval.experiments.options import DEFAULT, add_networks, add_out, add_settings, at_least, given_settings
from eval.faces.real import load_real
from eval.measures.accuracy import wilson
from eval.output.sheet import write_sheet


class Samples(DrawingExperiment[str]):
    """The points are the seven emotions."""

    name = "samples"
    columns = ("emotion", "first try", "tries/face", "judge", "judge, accepted", "judge, real")
    examples = """examples:
  python -m eval.samples
  python -m eval.samples --per-emotion 100 --seed 1000 --guidance 3 --data DATA
  python -m eval.samples --sheet emotions.png --columns 8
  python -m eval.samples --identity --per-emotion 6 --sheet people.png --columns 6

Columns: "first try" is the share of first draws that the encoder accepts; "judge" the share of faces that the second
judge, which takes no part in guidance or selection, gives the emotion asked for, among all first draws and among the
accepted faces; "judge, real" (with --data) the same for real test faces of that emotion: the figure to compare with."""

    @classmethod
    def options(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--per-emotion", type=int, default=64, help=f"faces of each emotion ({DEFAULT})")
        parser.add_argument("--seed", type=int, default=0, help=f"of the first face ({DEFAULT})")
        add_settings(parser, "guidance", "autoguidance", "steps", "temperature", "threshold", "look", "identity")
        add_networks(parser)
        parser.add_argument("--data", help="folder with FER-2013: adds the readers' shares on real test faces")
        add_out(parser, cls.name, sheet="also write a contact sheet, one emotion a row")
        parser.add_argument("--columns", type=int, default=8, help=f"faces a row on the sheet ({DEFAULT})")

    def plan(self) -> dict[str, str]:
        at_least(self.arguments, per_emotion=1, columns=1)
        self.shown: dict[str, dict[int, np.ndarray]] = {}
        return dict(zip(EMOTION_NAMES, EMOTION_NAMES, strict=True))

    def load(self) -> None:
        """Read the real faces too, at the generator's size."""
        super().load()
        self.real: dict[str, dict[str, float]] = {name: {} for name in EMOTION_NAMES}
        if self.arguments.data is None:
            return
        faces = load_real(self.arguments.data, "test", self.side)
        for reader, network in self.readers.items():
            tops = network.predict(faces.images).distributions.argmax(dim=1).numpy()
            for emotion, name in enumerate(EMOTION_NAMES):
                self.real[name][reader] = round(float((tops[faces.labels == emotion] == emotion).mean()), 4)

    def measure(self, point: str) -> Figures:
        """Figures of one emotion; its accepted faces are kept for the sheet."""
        asked, emotion, settings = self.arguments, EMOTION_NAMES.index(point), given_settings(self.arguments)
        count = asked.per_emotion
        # A threshold of 0 and one try would still drop faces whose top emotion is another: all first draws are wanted here.
        first = self.pipe.draw_all(self.pipe.request(point, count, asked.seed, **settings))
        picked = self.pipe(point, count, asked.seed, **settings)
        self.request = picked.request
        # A person has one place on the sheet, in every row; of other faces the first that were accepted are shown.
        places = [face.seed - asked.seed for face in picked.faces] if asked.identity else range(len(picked.faces))
        shown = zip(places, picked.faces, strict=True)
        self.shown[point] = {place: face.image for place, face in shown if place < asked.columns}
        found, kept = (hits(read(self.judge, batch, self.side), point) for batch in (first, picked))
        passed = sum(face.accepted for face in first.faces)
        accepted = len(picked.faces)
        return {
            "asked": count,
            "first_try_on_top": round(sum(face.verdict.top == emotion for face in first.faces) / count, 4),
            "first_try_accepted": round(passed / count, 4),
            "first_try_accepted_interval": wilson(passed, count),
            "accepted": accepted,
            "tried": picked.tried,
            "refused": dict(picked.refused),
            "mean_match": round(sum(verdict.match for verdict in picked.verdicts) / max(accepted, 1), 4),
            "seconds": round(picked.seconds, 2),
            "judge_first_try": round(found / count, 4),
            "judge_accepted": round(kept / max(accepted, 1), 4),
            "judge_accepted_interval": wilson(kept, accepted),
            **({"real": self.real[point]} if self.real[point] else {}),
        }

    def lines(self, name: str, figures: Figures) -> Iterator[Sequence[str]]:
        shares = [f"{figures[key]:.2f}" for key in ("first_try_accepted", "judge_first_try", "judge_accepted")]
        real = f"{figures['real']['judge']:.2f}" if "real" in figures else "-"
        yield name, shares[0], f"{figures['tried'] / max(figures['accepted'], 1):.1f}", *shares[1:], real

    def write(self, done: Mapping[str, Figures]) -> str:
        asked = self.arguments
        report: dict[str, Any] = {"seed": asked.seed, "per_emotion": asked.per_emotion, "weights": self.pipe.weights, **done}
        report["request"] = self.request.model_dump(mode="json", exclude={"emotion", "seed", "count"})
        write_json(asked.out / "samples.json", report)
        if asked.sheet is not None:
            blank = np.full((self.side, self.side), 255, np.uint8)
            cells = [(name, faces.get(place)) for name, faces in self.shown.items() for place in range(asked.columns)]
            labels = ["" if image is None else name for name, image in cells]
            texts = {"Seed": f"{asked.seed} and following", "Weights SHA-256": weights_text(self.pipe.weights)}
            images = [blank if image is None else image for _, image in cells]
            write_sheet(asked.sheet, images, labels, asked.columns, "AI-generated", texts)
        return f"written to {asked.out}"
