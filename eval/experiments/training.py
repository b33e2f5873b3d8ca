"""Rows of a comparison: the same network trained on different faces, each row and seed kept when it is done.

Every training goes through :func:`encoder.fitting.fit.fit_encoder`, and all take the same number of steps: a larger set
is seen fewer times, not longer.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import sys
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from configs.cli import UserError
from configs.loader import add_config_arguments, load_config, to_yaml
from encoder.config import EncoderConfig
from encoder.data.face_parquet import write_parquet_splits
from encoder.data.face_set import FaceSet
from engine.storage.atomic import atomic_write_text
from engine.storage.kept_rows import claim_folder
from eval.experiments.experiment import Experiment, Figures, Stopped
from eval.experiments.options import DEFAULT, add_data, add_out
from eval.faces.generated import GeneratedSet, obtain_set, read_set
from eval.faces.real import load_splits
from eval.measures.trainings import Labels
from eval.output.table import write_tables

GO_ON = "run the same command again to go on"


@dataclass(frozen=True)
class TrainingRow:
    """One line of the table before its seeds: a name for its folder, a title, and the faces it is trained on.

    Attributes:
        faces: gives (train, valid); called only when the row is not there yet.
        config: the settings of its training, without data, seed and length.
        share: its steps as a share of the other rows'.
        init: name of the row from whose weights of the same seed it goes on, with the same faces.
    """

    name: str
    title: str
    faces: Callable[[], tuple[FaceSet, FaceSet]]
    config: EncoderConfig
    share: float = 1.0
    init: str | None = None


@dataclass(frozen=True)
class RowResult:
    """What the trainings of a row came to: (N,) predictions for the test faces by each, and its length."""

    row: TrainingRow
    predictions: Sequence[Labels]
    train_faces: int
    steps: int

    def facts(self) -> Figures:
        return {"title": self.row.title, "train_faces": self.train_faces, "trainings": len(self.predictions)}


class Trainings(Experiment[tuple[TrainingRow, int]]):
    """The points are rows by seeds; the table of those that are there is written after each."""

    redrawn = True
    steps: int  # of the optimiser in every training

    @classmethod
    def options(cls, parser: argparse.ArgumentParser) -> None:
        """Data, length and size of the trainings, and where generated faces come from."""
        add_config_arguments(parser)
        add_data(parser, drawn=False)
        add_out(parser, cls.name)
        parser.add_argument("--epochs", type=float, help="epochs over real train; every row takes as many steps (default: 12)")
        parser.add_argument("--widths", help="of the network's stages, such as 16,32,64 (default: 64,128,256)")
        parser.add_argument("--seeds", default="0", help=f"of the trainings, such as 0,1,2 ({DEFAULT})")
        parser.add_argument("--rounds", type=int, default=1000, help=f"bootstrap resamples of the intervals ({DEFAULT})")
        parser.add_argument("--generated", type=Path, help="a set made by python -m generation.dataset (default: made in OUT)")
        parser.add_argument("--seed", type=int, default=0, help=f"of the generated faces ({DEFAULT})")
        parser.add_argument("--weights", default="pretrained", help=f"of the generator ({DEFAULT})")

    def plan(self) -> dict[str, tuple[TrainingRow, int]]:
        """Every row with every seed; the faces are read, and generated, where they are not there yet."""
        seeds = [int(seed) for seed in numbers("--seeds", self.arguments.seeds, whole=True)]
        self.check()
        self.config = self.configured()
        if self.arguments.print_config:
            print(to_yaml(self.config), end="")
            raise Stopped(0)
        self.splits = load_splits(self.arguments.data, self.config.preprocessing.size)
        self.rows = self.declare()
        return {f"{row.name}-s{seed}": (row, seed) for seed in seeds for row in self.rows}

    @abstractmethod
    def check(self) -> None:
        """Read the experiment's own options.

        Raises:
            UserError: one makes no sense.
        """

    @abstractmethod
    def declare(self) -> list[TrainingRow]:
        """The rows in the order of the table; sets ``steps`` and puts into ``made_from`` what decides the figures."""

    @abstractmethod
    def tabulate(self, results: Mapping[str, RowResult]) -> tuple[Figures, list[str], list[list[Any]]]:
        """Content for JSON, columns, and a line for each row that is there."""

    def configured(self, *changes: str) -> EncoderConfig:
        """The settings of every row: ``configs/encoder/short.yaml`` or another file, one head, ``--epochs`` and ``--widths``.

        Raises:
            UserError: a bad setting, or widths that are no list of whole numbers.
        """
        asked = self.arguments
        settings = [*asked.overrides, *changes, "model.heads=[fer2013]"]
        if asked.epochs is not None:
            settings.append(f"train.epochs={asked.epochs}")
        if asked.widths is not None:
            if not all(part.strip().isdigit() for part in asked.widths.split(",")):
                raise UserError(f"--widths {asked.widths}: give whole numbers such as 16,32,64")
            settings.append(f"model.widths=[{asked.widths}]")
        return load_config(EncoderConfig, asked.config or "configs/encoder/short.yaml", settings)

    def obtain(self, counts: dict[str, int]) -> GeneratedSet:
        """``counts`` faces: of the set that is named, or of one that is made here."""
        asked, folder = self.arguments, self.arguments.generated
        if folder is None:
            from generation.pipeline import FacePipeline

            folder = asked.out / "generated"
            obtain_set(FacePipeline.from_pretrained(asked.weights).to("auto"), counts, asked.seed, folder)
        return read_set(folder, self.config.preprocessing.size).first(counts)

    def described(self, made: GeneratedSet, **more: Any) -> Figures:
        """What decides the figures, for ``plan.json``: settings, data, the generated set, and whatever the experiment adds."""
        settings = self.config.model_copy(update={"data": self.config.data.model_copy(update={"path": None})})
        return {
            "config": to_yaml(settings).splitlines(),
            "data": {split: {"source": faces.source, "faces": len(faces)} for split, faces in self.splits.items()},
            "rounds": self.arguments.rounds,
            "generated": {key: made.manifest[key] for key in ("request", "weights_sha256")},
            **more,
        }

    def steps_for(self, faces: int) -> int:
        """Optimiser steps of the configured epochs over so many faces."""
        train = self.config.train
        return max(1, round(train.epochs * max(1, faces // train.batch_size)))

    def load(self) -> None:
        """Make the folder that of this plan.

        Raises:
            UserError: it was made with another plan, or cannot be written.
        """
        claim_folder(self.arguments.out, "plan.json", json.dumps(self.made_from, indent=2, sort_keys=True) + "\n")

    def measure(self, point: tuple[TrainingRow, int]) -> Figures:
        """Train a row with a seed, or go on with it, and let it read the test faces.

        Raises:
            Stopped: Ctrl-C or SIGTERM; what is done is kept.
        """
        from encoder.evaluation.readings import read_heads
        from encoder.inference.emotion_encoder import EmotionEncoder

        row, seed = point
        weights = self._train(row, seed) / "weights"
        reading = read_heads(EmotionEncoder.from_pretrained(weights), self.splits["test"])["fer2013"]
        stored = json.loads((weights / "config.json").read_text(encoding="utf-8"))
        return {
            "title": row.title,
            "seed": seed,
            "train_faces": stored["data"]["train_faces"],
            "steps": stored["training"]["steps"],
            "predictions": reading.probabilities.argmax(axis=1).tolist(),
        }

    def place(self, name: str) -> Path:
        return Path(self.arguments.out) / "rows" / name / "result.json"

    def kept(self, name: str) -> Figures | None:
        """All rows share the plan of the folder, so a row stores its result alone."""
        place = self.place(name)
        return dict(json.loads(place.read_text(encoding="utf-8"))) if place.is_file() else None

    def keep(self, name: str, figures: Figures) -> None:
        """Store the result; checkpoints are of no use after that."""
        atomic_write_text(self.place(name), json.dumps(figures) + "\n")
        shutil.rmtree(self.place(name).with_name("checkpoints"), ignore_errors=True)

    def write(self, done: Mapping[str, Figures]) -> str:
        results = {}
        for row in self.rows:
            found = [figures for name, figures in done.items() if name.rpartition("-s")[0] == row.name]
            if found:
                read = [np.array(each["predictions"], np.int64) for each in found]
                results[row.name] = RowResult(row, read, found[0]["train_faces"], found[0]["steps"])
        out = self.arguments.out
        text = write_tables(out, self.name, *self.tabulate(results))
        return f"{text}\nwritten: {out}/{self.name}.md, {self.name}.csv, {self.name}.json"

    def _train(self, row: TrainingRow, seed: int) -> Path:
        """The folder of the finished training."""
        import pyarrow.parquet as pq

        from encoder.fitting.fit import fit_encoder
        from engine.storage.checkpoint import latest_checkpoint

        out = Path(self.arguments.out)
        place, data = self.place(f"{row.name}-s{seed}").parent, out / "data" / (row.init or row.name)
        if not (data / "train.parquet").is_file() or not (data / "valid.parquet").is_file():
            shutil.rmtree(data, ignore_errors=True)
            train, valid = row.faces()
            write_parquet_splits(data, {"train": train, "valid": valid})
        init = None if row.init is None else str(self.place(f"{row.init}-s{seed}").with_name("weights"))
        count = int(pq.read_metadata(data / "train.parquet").num_rows)
        epochs = row.share * self.steps / max(1, count // row.config.train.batch_size)
        config = row.config.model_copy(
            update={
                "data": row.config.data.model_copy(update={"source": "real", "path": str(data)}),
                "train": row.config.train.model_copy(update={"seed": seed, "epochs": epochs, "init": init, "max_minutes": None}),
            }
        )
        print(f"{row.title}, seed {seed}", file=sys.stderr)
        with contextlib.redirect_stdout(sys.stderr):
            found = latest_checkpoint(place) if (place / "checkpoints").is_dir() else None
            if found is None:
                # Without a checkpoint nothing of an earlier attempt is of use.
                shutil.rmtree(place, ignore_errors=True)
            code = fit_encoder(config, place, None if found is None else "latest", go_on=GO_ON)
        if code:
            raise Stopped(code)
        return place


def numbers(option: str, text: str, *, whole: bool = False) -> list[float]:
    """The numbers of ``"1,5"``: positive ones, or whole ones of at least 0.

    Raises:
        UserError: something else, or one twice.
    """
    kind = "whole numbers such as 0,1,2" if whole else "positive numbers such as 1,5"
    try:
        found = [float(int(part)) if whole else float(part) for part in text.split(",")]
    except ValueError:
        raise UserError(f"{option} {text}: give {kind}") from None
    if not all(0 <= number < 1e9 and (whole or number > 0) for number in found) or len(set(found)) < len(found):
        raise UserError(f"{option} {text}: give {kind}, each once")
    return found
