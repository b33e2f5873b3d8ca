"""Does the look of generated faces give their emotion away? Real faces of other emotions, before and after the tokenizer."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from configs.cli import UserError
from encoder.data.face_set import FaceSet
from encoder.emotions import parse_emotion
from eval.experiments.experiment import Experiment, Figures
from eval.experiments.options import DEFAULT, add_data
from eval.faces.real import load_real
from eval.output.table import write_tables


class Shortcut(Experiment[list[Path]]):
    """The points are the rows of an augmentation: the folders of their weights, one a seed."""

    name = "shortcut"
    place_option = "--rows"
    examples = """examples:
  python -m eval.shortcut --data DATA --rows out/augmentation
  python -m eval.shortcut --data DATA --rows out/augmentation --emotions disgust --split valid

ROWS is the folder of python -m eval.augmentation. Every network in it reads all real faces that are labelled neither of
--emotions, as they are and after a pass through the tokenizer of --weights, which gives them the generator's texture and
leaves their expressions. A network that then reads many more of them as one of --emotions has learned the texture.
Writes shortcut.md, .csv and .json into ROWS."""

    @classmethod
    def options(cls, parser: argparse.ArgumentParser) -> None:
        add_data(parser, ("valid", "test"), "test", drawn=False)
        parser.add_argument("--rows", dest="out", type=Path, required=True, help="folder of eval.augmentation")
        parser.add_argument("--emotions", default="disgust,fear", help=f"emotions that were generated ({DEFAULT})")
        parser.add_argument("--weights", default="pretrained", help=f"of the generator ({DEFAULT})")

    def plan(self) -> dict[str, list[Path]]:
        """The rows that are there, and what their plan says of the generated set.

        Raises:
            UserError: there is no row, or no plan of them.
        """
        self.emotions = [parse_emotion(name) for name in self.arguments.emotions.split(",")]
        folder = self.arguments.out
        found: dict[str, list[Path]] = {}
        for weights in sorted(folder.glob("rows/*/weights/config.json")):
            found.setdefault(weights.parent.parent.name.rpartition("-s")[0], []).append(weights.parent)
        if not found:
            raise UserError(f"--rows {folder}: holds no trained rows; make them with python -m eval.augmentation")
        try:
            self.generated = json.loads((folder / "plan.json").read_text(encoding="utf-8"))["generated"]
        except (OSError, ValueError, KeyError) as error:
            raise UserError(f"{folder / 'plan.json'}: does not say which generated set the rows have ({error})") from None
        return found

    def load(self) -> None:
        from engine.devices import resolve_device
        from eval.faces.look import tokenizer_of

        self.device = resolve_device("auto")
        self.tokenizer = tokenizer_of(self.generated, Path(self.arguments.weights).expanduser()).to(self.device)
        # Per size of a network's input the faces of other emotions, as they are and through the tokenizer.
        self.faces: dict[int, tuple[FaceSet, FaceSet]] = {}

    def measure(self, point: list[Path]) -> Figures:
        """Share of faces that the networks of a row read as one of the emotions."""
        from encoder.evaluation.readings import read_heads
        from encoder.inference.emotion_encoder import EmotionEncoder
        from eval.faces.look import through_tokenizer

        shares = []
        for folder in point:
            encoder = EmotionEncoder.from_pretrained(folder).to(self.device)
            size = encoder.preprocessing.size
            if size not in self.faces:
                faces = load_real(self.arguments.data, self.arguments.split, size)
                others = faces.subset(~np.isin(faces.labels, self.emotions))
                self.faces[size] = others, through_tokenizer(others, self.tokenizer)
            read = [read_heads(encoder, faces)["fer2013"].probabilities.argmax(axis=1) for faces in self.faces[size]]
            shares.append([float(np.isin(each, self.emotions).mean()) for each in read])
        mean = np.mean(shares, axis=0)
        return {"trainings": len(shares), "as_they_are": mean[0], "through_tokenizer": mean[1], "each": shares}

    def write(self, done: Mapping[str, Figures]) -> str:
        count = len(next(iter(self.faces.values()))[0])
        names, neither = (word.join(emotion.label for emotion in self.emotions) for word in (" or ", " nor "))
        note = (
            f"Share of {count:,} real faces of the {self.arguments.split} split, labelled neither {neither}, "
            f"that is read as {names}; means over trainings. `{self.command}`"
        )
        columns = ["trained on", "trainings", f"read as {names}", f"read as {names} after the tokenizer"]
        lines: list[list[Any]] = [
            [name, row["trainings"], f"{row['as_they_are']:.3f}", f"{row['through_tokenizer']:.3f}"] for name, row in done.items()
        ]
        content = {"command": self.command, "rows": done, "notes": [note]}
        return write_tables(self.arguments.out, "shortcut", content, columns, lines)
