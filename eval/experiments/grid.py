"""Points of settings: the same seeds of every emotion drawn under each, and read by both readers beside real faces."""

from __future__ import annotations

import argparse
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encoder.emotions import EMOTION_NAMES, NUM_EMOTIONS
from eval.experiments.experiment import DrawingExperiment, Figures, read
from eval.experiments.options import DEFAULT, add_data, add_networks, add_out, at_least
from eval.faces.real import load_real
from eval.measures.floors import RealFeatures, accuracies, read_real_faces

if TYPE_CHECKING:
    from encoder.inference.emotion_encoder import Prediction
    from generation.faces import FaceBatch
    from generation.request import FaceRequest


@dataclass(frozen=True)
class GridPoint:
    """All settings of one point, and the request of each emotion that they make."""

    settings: Mapping[str, Any]
    requests: Mapping[str, FaceRequest]


class Grid(DrawingExperiment[GridPoint]):
    """What sweep and knobs share. Points are kept, so that the same command goes on, and values can be added."""

    per_emotion: int

    @classmethod
    def options(cls, parser: argparse.ArgumentParser) -> None:
        """Faces, weights and place; a grid adds its settings."""
        add_data(parser, ("valid", "test"))
        parser.add_argument("--per-emotion", type=int, default=cls.per_emotion, help=f"faces an emotion and point ({DEFAULT})")
        parser.add_argument("--seed", type=int, default=50000, help=f"of the first face ({DEFAULT})")
        parser.add_argument("--bootstrap", type=int, default=100, help=f"rounds ({DEFAULT})")
        parser.add_argument("--encoder", help="another folder for the encoder")
        add_networks(parser)
        add_out(parser, cls.name)

    def point(self, settings: Mapping[str, Any], away: Mapping[str, Mapping[str, Any]] | None = None) -> GridPoint:
        """A point of these settings; ``away`` has more of them for single emotions.

        Raises:
            UserError: a setting out of range, or too few faces.
        """
        from generation.pipeline import FacePipeline

        at_least(self.arguments, per_emotion=2, bootstrap=2)
        given = {name: value for name, value in settings.items() if name != "avoidance" and value is not None}
        count, seed = self.arguments.per_emotion, self.arguments.seed
        requests = {
            name: FacePipeline.request(name, count, seed, **given, **(away or {}).get(name, {})) for name in EMOTION_NAMES
        }
        return GridPoint(settings, requests)

    def load(self) -> None:
        """Load networks, and real faces at the generator's size, so that all take the same way into the readers."""
        super().load()
        from engine.storage.weights import WEIGHTS_FILE, file_sha256, resolve_folder
        from vqvae.tokens.cache import array_sha256

        asked, size = self.arguments, self.side
        self.train = load_real(asked.data, "train", size, drawn=NUM_EMOTIONS * 10 * asked.per_emotion)
        self.held_out = load_real(asked.data, asked.split, size, drawn=50 * NUM_EMOTIONS)
        judge = file_sha256(resolve_folder(asked.judge) / WEIGHTS_FILE)
        self.made_from = {
            "data": self.held_out.source,
            "faces_sha256": array_sha256(self.train.images, self.held_out.images),
            **{name: getattr(asked, name) for name in ("split", "seed", "per_emotion", "bootstrap")},
            "weights": {**self.pipe.weights, "judge": judge},
        }

    @cached_property
    def real(self) -> Mapping[str, RealFeatures]:
        """Real faces as each reader sees them; only read where a point is missing."""
        return read_real_faces(self.readers, self.train, self.held_out, self.arguments.per_emotion)

    def place(self, name: str) -> Path:
        return Path(self.arguments.out) / "points" / f"{name}.json"

    def measure(self, point: GridPoint) -> Figures:
        """Draw every emotion's faces and measure them: what :meth:`head` says, and by each reader what it sees."""
        real = self.real
        batches = [self.draw(point, request) for request in point.requests.values()]
        figures = self.head(point, batches)
        for name, reader in self.readers.items():
            readings = [read(reader, batch, self.side) for batch in batches]
            found = self.see(readings, real[name])
            for label, accuracy in accuracies(readings, real[name].recall).items():
                found[label] = {"accuracy": accuracy, **found[label]}
            figures[name] = found
        return figures

    def draw(self, point: GridPoint, request: FaceRequest) -> FaceBatch:
        """The faces of one emotion: first draws, none refused, so that nobody is asked who could."""
        return self.pipe.draw_all(request.model_copy(update={"realism": 0.0, "landmarks": "off", "as_told": "off"}))

    @abstractmethod
    def head(self, point: GridPoint, batches: list[FaceBatch]) -> Figures:
        """What a point is, how many faces it gave, and how fast."""

    @abstractmethod
    def see(self, readings: list[Prediction], real: RealFeatures) -> Figures:
        """Distances in one reader's features, of ``all`` and of each emotion."""

    def faces_line(self) -> str:
        """Which faces the figures rest on, for the head of a table."""
        first, count = self.arguments.seed, self.arguments.per_emotion
        return f"{count} faces of each emotion, seeds {first} to {first + count - 1}"
