"""What an experiment declares of itself, and the runner that does the rest.

An experiment says which points it has and how one of them is measured. The runner parses, refuses what can be refused before
anything is loaded, resumes from the points that are kept, prints a line for each, and writes what the experiment makes of all.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from tqdm import tqdm

from configs.cli import add_overwrite, command_parser
from encoder.emotions import EMOTION_NAMES
from engine.storage.atomic import require_new, require_place
from engine.storage.kept_rows import keep_row, kept_row
from eval.output.table import aligned

if TYPE_CHECKING:
    from pathlib import Path

    from encoder.inference.emotion_encoder import EmotionEncoder, Prediction
    from generation.faces import FaceBatch
    from generation.pipeline import FacePipeline

T = TypeVar("T")
Figures = dict[str, Any]


class Stopped(Exception):
    """The experiment ends here, as somebody asked; ``code`` is the program's exit code."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Experiment(ABC, Generic[T]):
    """One experiment. ``T`` is one of its points: what :meth:`measure` is given.

    Attributes:
        name: ``python -m eval.NAME``, and the files ``NAME.*`` of its results.
        examples: of the command line, with what the figures mean.
        columns: titles of the lines that are printed as points are done; none: no lines.
        place_option: of the command line, that names the folder of the results.
        redrawn: write the results after every point, not only at the end.
    """

    name: ClassVar[str]
    examples: ClassVar[str]
    columns: ClassVar[Sequence[str]] = ()
    place_option: ClassVar[str] = "--out"
    redrawn: ClassVar[bool] = False

    def __init__(self, arguments: argparse.Namespace, argv: Sequence[str] = ()) -> None:
        self.arguments = arguments
        self.command = shlex.join(["python", "-m", f"eval.{self.name}", *argv])
        # What decides the figures; a kept point that was made from something else is refused.
        self.made_from: Figures = {}

    @classmethod
    def build_parser(cls) -> argparse.ArgumentParser:
        """The command line; imports nothing heavy."""
        parser = command_parser(f"python -m eval.{cls.name}", sys.modules[cls.__module__].__doc__, cls.examples)
        cls.options(parser)
        if not cls.goes_on():
            add_overwrite(parser)
        return parser

    @classmethod
    def goes_on(cls) -> bool:
        """Whether points are kept, so that the same command goes on; what it writes is then its own."""
        return cls.place is not Experiment.place

    @classmethod
    def main(cls, argv: Sequence[str]) -> int:
        """Run the experiment; returns the exit code, 1 where a point failed."""
        self = cls(cls.build_parser().parse_args(argv), argv)
        try:
            return self.run()
        except Stopped as stopped:
            return stopped.code

    def run(self) -> int:
        """Measure the points that are not there yet, and write and print the results of all."""
        require_place(self.arguments.out, self.place_option)
        if not self.goes_on():
            require_new([self.arguments.out / f"{self.name}.json"], self.arguments.overwrite, self.place_option)
            require_new([getattr(self.arguments, "sheet", None)], self.arguments.overwrite, "--sheet")
        points = self.plan()
        self.load()
        done = {name: found for name in points if (found := self.kept(name)) is not None}
        if self.columns:
            print(aligned(self.columns, self.columns))
        for name in tqdm(points, desc=self.name, disable=None, leave=False):
            if name not in done:
                done[name] = self.measure(points[name])
                self.keep(name, done[name])
                if self.redrawn:
                    self.write(_in_order(points, done))
            for line in self.lines(name, done[name]):
                tqdm.write(aligned(line, self.columns), file=sys.stdout)
        print(self.write(_in_order(points, done)))
        return int(any("failed" in figures for figures in done.values()))

    @classmethod
    @abstractmethod
    def options(cls, parser: argparse.ArgumentParser) -> None:
        """Add the experiment's own options; one of them is ``--out``."""

    @abstractmethod
    def plan(self) -> Mapping[str, T]:
        """The points by name; every option is checked here, before networks are loaded.

        Raises:
            UserError: an option that makes no sense.
        """

    def load(self) -> None:
        """Load what all points share, and say in ``made_from`` what it was."""

    @abstractmethod
    def measure(self, point: T) -> Figures:
        """The figures of one point, ready for JSON; ``failed`` with the reason of one that cannot be measured."""

    @abstractmethod
    def write(self, done: Mapping[str, Figures]) -> str:
        """Write the results of the points that are there, in the order of the plan; returns what is printed at the end."""

    def lines(self, name: str, figures: Figures) -> Iterable[Sequence[str]]:
        """What is printed of one point: cells under ``columns``."""
        return ()

    def place(self, name: str) -> Path | None:
        """The file that keeps a point; None: points are measured anew each time."""
        return None

    def basis(self, name: str) -> Figures:
        """What decides the figures of a point."""
        return self.made_from

    def kept(self, name: str) -> Figures | None:
        """The figures of a point that was measured before.

        Raises:
            UserError: it was made from something else, or is damaged.
        """
        place = self.place(name)
        return None if place is None else kept_row(place, self.basis(name))

    def keep(self, name: str, figures: Figures) -> None:
        """Store the figures of a point for :meth:`kept`; one that failed is tried again by the next command."""
        place = self.place(name)
        if place is not None and "failed" not in figures:
            keep_row(place, self.basis(name), figures)


def _in_order(points: Iterable[str], done: Mapping[str, Figures]) -> dict[str, Figures]:
    return {name: done[name] for name in points if name in done}


class DrawingExperiment(Experiment[T]):
    """An experiment that draws faces.

    Attributes:
        pipe: the generator, on the device asked for. judge: the second classifier, which takes no part in generation.
        readers: the generator's encoder, which verifies and guides, and the judge.
    """

    pipe: FacePipeline
    judge: EmotionEncoder
    readers: Mapping[str, EmotionEncoder]

    def load(self) -> None:
        """Load the networks that ``--weights``, ``--encoder`` and ``--judge`` name."""
        from encoder.inference.emotion_encoder import EmotionEncoder
        from engine.storage.weights import resolve_folder
        from generation.pipeline import FacePipeline

        asked = self.arguments
        self.pipe = FacePipeline.from_pretrained(asked.weights, encoder=getattr(asked, "encoder", None)).to(asked.device)
        self.judge = EmotionEncoder.from_pretrained(resolve_folder(asked.judge)).to(self.pipe.encoder.device)
        self.readers = {"encoder": self.pipe.encoder, "judge": self.judge}

    @property
    def side(self) -> int:
        """Side in pixels at which generated faces are compared with real ones."""
        return self.pipe.tokenizer.config.size


def read(reader: EmotionEncoder, batch: FaceBatch, side: int) -> Prediction:
    """What a reader sees in a batch of faces, also in an empty one; as it sees real ones of ``side`` pixels."""
    from eval.faces.look import as_real_ones

    return reader.predict(as_real_ones([face.image for face in batch.faces], side))


def hits(found: Prediction, emotion: str) -> int:
    """How many faces are read as ``emotion``."""
    return int((found.distributions.argmax(dim=1) == EMOTION_NAMES.index(emotion)).sum())
