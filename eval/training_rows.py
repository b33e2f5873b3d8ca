"""Rows of a comparison: the same network trained on different faces, each row and seed kept when it is done.

Every training goes through :func:`encoder.fitting.fit.fit_encoder`, and all take the same number of steps: a larger set
is seen fewer times, not longer.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from configs.cli import UserError
from configs.loader import to_yaml
from encoder.config import EncoderConfig
from encoder.data.face_parquet import write_parquet_splits
from encoder.data.face_set import SPLITS, FaceSet
from encoder.data.load import load_faces
from encoder.emotions import FERPLUS_NAMES, NUM_EMOTIONS
from encoder.evaluation.readings import read_heads
from encoder.fitting.fit import fit_encoder
from encoder.inference.emotion_encoder import EmotionEncoder
from engine.storage.atomic import atomic_write_text
from engine.storage.checkpoint import latest_checkpoint
from engine.storage.kept_rows import claim_folder
from eval.faces.generated import GeneratedSet

Scheme = Literal["fer2013", "ferplus"]
SCHEMES: dict[Scheme, str] = {"fer2013": "FER-2013 labels", "ferplus": "FER+ majority"}


class Stopped(Exception):
    """A training was stopped; ``code`` is the program's exit code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True)
class Row:
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
    """What one training came to: ``predictions`` (N,) for the test faces in the order of the data set, and its length."""

    predictions: npt.NDArray[np.int64]
    train_faces: int
    steps: int


def labelled(faces: FaceSet, scheme: Scheme) -> FaceSet:
    """The faces with a label in ``scheme``, as hard labels of the seven; votes are left out.

    Raises:
        UserError: there is none.
    """
    labels = scheme_labels(faces, scheme)
    kept = faces.subset(labels >= 0)
    if not len(kept):
        raise UserError(f"{faces.source}: no face has a label by {SCHEMES[scheme]}")
    return plain(kept, labels[labels >= 0])


def scheme_labels(faces: FaceSet, scheme: Scheme) -> npt.NDArray[np.int64]:
    """(N,) classes of the seven by FER-2013's label or by the FER+ majority; -1 where there is none, or contempt."""
    if scheme == "fer2013":
        return faces.labels.astype(np.int64)
    majority = faces.majority().astype(np.int64)
    return np.where(majority < NUM_EMOTIONS, majority, -1)


def plain(faces: FaceSet, labels: npt.NDArray[np.integer]) -> FaceSet:
    """The same pictures with these labels and nothing else that people said of them."""
    votes = np.zeros((len(faces), len(FERPLUS_NAMES)), np.float32)
    return dataclasses.replace(faces, labels=labels.astype(np.int8), votes=votes, vote_counts=None, identities=None, genders=None)


def from_generated(made: GeneratedSet) -> FaceSet:
    """Generated faces as a data set."""
    votes = np.zeros((len(made.labels), len(FERPLUS_NAMES)), np.float32)
    return FaceSet(made.images, made.labels.astype(np.int8), votes, made.names, "generated")


def joined(one: FaceSet, two: FaceSet) -> FaceSet:
    """Both sets, one after the other; only pictures, labels and names."""
    one, two = plain(one, one.labels), plain(two, two.labels)
    return dataclasses.replace(
        one,
        images=np.concatenate([one.images, two.images]),
        labels=np.concatenate([one.labels, two.labels]),
        votes=np.concatenate([one.votes, two.votes]),
        ids=(*one.ids, *two.ids),
    )


def oversampled(faces: FaceSet, counts: Mapping[int, int], *, seed: int = 0) -> FaceSet:
    """``faces`` with copies, so that each class in ``counts`` has that many faces (never fewer than it has)."""
    rng = np.random.default_rng(seed)
    extra = []
    for label, count in counts.items():
        rows = np.flatnonzero(faces.labels == label)
        if len(rows) and count > len(rows):
            order = np.concatenate([rng.permutation(rows) for _ in range(-(-count // len(rows)))])
            extra.append(order[: count - len(rows)])
    return faces.subset(np.concatenate([np.arange(len(faces)), *extra]))


class Bench:
    """A folder of rows, a length they share, and the test faces they are judged on.

    Args:
        plan: everything that decides the figures; a folder made to another plan is refused.
        test: real faces that no row trains on.
        steps: optimiser steps of a row.

    Raises:
        UserError: the folder was made with another plan, or cannot be written.
    """

    def __init__(self, folder: Path, plan: Mapping[str, Any], test: FaceSet, steps: int) -> None:
        self.folder, self.test, self.steps = folder, test, steps
        claim_folder(folder, "plan.json", json.dumps(plan, indent=2, sort_keys=True) + "\n")

    def fill(
        self, rows: Sequence[Row], seeds: Sequence[int], name: str, write: Callable[[Mapping[str, list[RowResult]]], str]
    ) -> int:
        """Train every row with every seed, keep the table up to date and print it at the end; returns the exit code.

        Args:
            write: makes ``name``.md, .csv and .json of the results that are there, by row; returns the Markdown.
        """
        results: dict[str, list[RowResult]] = {}
        try:
            for seed in seeds:
                for row in rows:
                    there = self._result(row, seed).is_file()
                    results.setdefault(row.name, []).append(self.run(row, seed))
                    if not there:
                        write(results)
        except Stopped as stopped:
            return stopped.code
        print(f"{write(results)}\nwritten: {self.folder}/{name}.md, {name}.csv, {name}.json")
        return 0

    def run(self, row: Row, seed: int) -> RowResult:
        """Train one row with one seed, go on with it, or read what is there.

        Raises:
            Stopped: Ctrl-C or SIGTERM; what is done is kept.
            UserError: as for training.
        """
        result = self._result(row, seed)
        place = result.parent
        if not result.is_file():
            self._train(row, seed, place)
            encoder = EmotionEncoder.from_pretrained(place / "weights")
            reading = read_heads(encoder, self.test)["fer2013"]
            stored = json.loads((place / "weights" / "config.json").read_text(encoding="utf-8"))
            content = {
                "title": row.title,
                "seed": seed,
                "train_faces": stored["data"]["train_faces"],
                "steps": stored["training"]["steps"],
                "predictions": reading.probabilities.argmax(axis=1).tolist(),
            }
            atomic_write_text(result, json.dumps(content) + "\n")
            shutil.rmtree(place / "checkpoints", ignore_errors=True)
        content = json.loads(result.read_text(encoding="utf-8"))
        return RowResult(np.array(content["predictions"], np.int64), content["train_faces"], content["steps"])

    def _result(self, row: Row, seed: int) -> Path:
        return self.folder / "rows" / f"{row.name}-s{seed}" / "result.json"

    def _train(self, row: Row, seed: int, place: Path) -> None:
        data = self.folder / "data" / (row.init or row.name)
        if not (data / "train.parquet").is_file() or not (data / "valid.parquet").is_file():
            shutil.rmtree(data, ignore_errors=True)
            train, valid = row.faces()
            write_parquet_splits(data, {"train": train, "valid": valid})
        init = None if row.init is None else str(self.folder / "rows" / f"{row.init}-s{seed}" / "weights")
        batch = row.config.train.batch_size
        epochs = row.share * self.steps / max(1, _rows(data / "train.parquet") // batch)
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
            code = fit_encoder(config, place, None if found is None else "latest", go_on="run the same command again to go on")
        if code:
            raise Stopped(code)


def _rows(file: Path) -> int:
    import pyarrow.parquet as pq

    return int(pq.read_metadata(file).num_rows)


def steps_of(config: EncoderConfig, faces: int) -> int:
    """Optimiser steps of ``config.train.epochs`` over so many faces."""
    return max(1, round(config.train.epochs * max(1, faces // config.train.batch_size)))


def load_splits(path: str, size: int) -> dict[str, FaceSet]:
    """Train, valid and test at the network's input size."""
    return {split: load_faces(Path(path).expanduser(), split, size=size) for split in SPLITS}


def describe_plan(config: EncoderConfig, splits: Mapping[str, FaceSet], **more: Any) -> dict[str, Any]:
    """What decides the figures, for ``plan.json``: settings, data, and whatever the program adds."""
    return {
        "config": to_yaml(config.model_copy(update={"data": config.data.model_copy(update={"path": None})})).splitlines(),
        "data": {split: {"source": faces.source, "faces": len(faces)} for split, faces in splits.items()},
        **more,
    }


def set_facts(made: GeneratedSet) -> dict[str, Any]:
    """What decides a generated set: its request and weights."""
    return {"request": made.manifest["request"], "weights_sha256": made.manifest["weights_sha256"]}


def configured(
    config_path: str | Path | None, overrides: Sequence[str], *, epochs: float | None, widths: str | None
) -> EncoderConfig:
    """The settings of every row: ``configs/encoder/short.yaml`` or another file, one head, ``--epochs`` and ``--widths``.

    Raises:
        UserError: a bad setting, or widths that are no list of whole numbers.
    """
    from configs.loader import load_config

    changes = [*overrides, "model.heads=[fer2013]"]
    if epochs is not None:
        changes.append(f"train.epochs={epochs}")
    if widths is not None:
        parts = widths.split(",")
        if not all(part.strip().isdigit() for part in parts):
            raise UserError(f"--widths {widths}: give whole numbers such as 16,32,64")
        changes.append(f"model.widths=[{widths}]")
    return load_config(EncoderConfig, config_path or "configs/encoder/short.yaml", changes)
