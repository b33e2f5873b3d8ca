"""Whether a face stays the same person: real photographs, edits, strips and --identity, by one embedder that takes no part."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from configs.cli import UserError
from encoder.emotions import EMOTION_NAMES
from encoder.people.embedders import DEFAULT_EMBEDDER
from engine.storage.atomic import write_json
from eval.experiments import options
from eval.experiments.experiment import Experiment, Figures
from eval.faces.people import Pictures, lfw_pairs, london_pairs, small_grey

if TYPE_CHECKING:
    from encoder.people.embeddings import Embedder
    from generation.pipeline import FacePipeline

REAL = ("lfw", "lfw-grey", "london", "london-grey")
_EMOTIONS = tuple(name for name in EMOTION_NAMES if name != "neutral")
_ENDS = "neutral:happiness"
MADE = (
    "rebuilt",
    *(f"edit-{name}" for name in _EMOTIONS),
    *(f"identity-{name}" for name in _EMOTIONS),
    *(f"seed-{name}" for name in _EMOTIONS),
    "strip",
)
_WIDTH = max(map(len, REAL + MADE))
_CROP = 160
_RESAMPLES = 1000


class People(Experiment[str]):
    """The points are ways to come by two pictures of each of some people."""

    name = "people"
    columns = ("pictures".ljust(_WIDTH), "people", "distance", "others", "same", "different", "balanced")
    examples = f"""examples:
  python -m eval.people --data DATA --only lfw,lfw-grey,london,london-grey
  python -m eval.people --data DATA --only edit-happiness,identity-fear,strip --seeds 36
  python -m eval.people --data DATA --embedder deepface:Facenet512

DATA is the folder with colour128/ and london/. Of every person there are two pictures: "distance" is the mean between the two,
"others" between pictures of different people. "same" is the share of pairs of one person within the embedder's threshold,
"different" that of all pairs of different people beyond it, "balanced" the mean of both. Pictures are

  lfw, london             real: two photographs of LFW, or neutral and smile of the Face Research Lab London Set
  lfw-grey, london-grey   the same faces, grey at 64 pixels, as the generator makes them
  rebuilt                 neutral of the London Set, grey at 64 pixels, before and after the tokenizer
  edit-EMOTION            neutral of the London Set, before and after the best of --proposals of generation.edit
  strip                   first and last face of a strip, {_ENDS}
  identity-EMOTION        a seed's neutral face and its face of that emotion, with --identity
  seed-EMOTION            the same without --identity

The London photographs measure only. The embedder takes no part in drawing, and none in choosing."""

    @classmethod
    def options(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--data", required=True, help="folder with colour128/ and london/")
        parser.add_argument("--only", type=options.words, default=REAL + MADE, help="pictures, see below (default: all)")
        parser.add_argument("--people", type=int, default=500, help=f"people of LFW ({options.DEFAULT})")
        parser.add_argument("--seeds", type=int, default=36, help=f"people drawn, and people edited ({options.DEFAULT})")
        parser.add_argument("--proposals", type=int, default=8, help=f"of which the best edit counts ({options.DEFAULT})")
        parser.add_argument("--seed", type=int, default=0, help="chooses people and draws faces")
        parser.add_argument("--embedder", default=DEFAULT_EMBEDDER, metavar="NAME", help=options.DEFAULT)
        parser.add_argument("--weights", default="pretrained", help=f"what is measured ({options.DEFAULT})")
        parser.add_argument("--device", default="auto", help=f"auto, cpu, cuda, cuda:1, … ({options.DEFAULT})")
        options.add_out(parser, cls.name)

    def plan(self) -> dict[str, str]:
        asked = self.arguments
        options.at_least(asked, people=2, seeds=2, proposals=1, seed=0)
        unknown = [name for name in asked.only if name not in REAL + MADE]
        if unknown:
            raise UserError(f"--only: no pictures {unknown[0]!r}; known are {', '.join(REAL + MADE)}")
        return dict(zip(asked.only, asked.only, strict=True))

    def load(self) -> None:
        from encoder.people.embedders import create_embedder

        asked = self.arguments
        self.embedder: Embedder = create_embedder(asked.embedder, device=asked.device)
        self.made_from = {"embedder": self.embedder.name, "seed": asked.seed}

    def place(self, name: str) -> Path:
        return Path(self.arguments.out) / "points" / f"{name}.json"

    def basis(self, name: str) -> Figures:
        asked = self.arguments
        if name.startswith("lfw"):
            return {**self.made_from, "people": asked.people}
        if name in REAL:
            return self.made_from
        return {**self.made_from, "seeds": asked.seeds, "proposals": asked.proposals, "weights": self.pipe.weights}

    def measure(self, point: str) -> Figures:
        kind, _, rest = point.partition("-")
        pairs: dict[str, Callable[[str], tuple[Pictures, Pictures]]] = {
            "lfw": self._lfw,
            "london": self._london,
            "rebuilt": self._rebuilt,
            "edit": self._edits,
            "strip": self._strip,
            "identity": lambda emotion: self._drawn(emotion, identity=True),
            "seed": lambda emotion: self._drawn(emotion, identity=False),
        }
        first, second = (self._embed(pictures, point) for pictures in pairs[kind](rest))
        if len(first) < 2:
            return {"failed": "of fewer than two seeds both faces were accepted"}
        return figures_of_pairs(first, second, self.embedder, seed=self.arguments.seed)

    def lines(self, name: str, figures: Figures) -> Iterator[Sequence[str]]:
        if "failed" in figures:
            yield name.ljust(_WIDTH), "failed", *[""] * (len(self.columns) - 2)
            return
        shares = (f"{figures[key]['value']:.3f}" for key in ("distance", "others", "same", "different", "balanced"))
        yield name.ljust(_WIDTH), str(figures["people"]), *shares

    def write(self, done: Mapping[str, Figures]) -> str:
        asked = self.arguments
        named = ("people", "seeds", "proposals", "seed")
        rule = {"name": self.embedder.name, "metric": self.embedder.metric, "threshold": self.embedder.threshold}
        report = {
            "splits": {"lfw": "colour128, train", "london": "all 102 people"},
            **{name: getattr(asked, name) for name in named},
            "embedder": rule,
            "command": self.command,
            "pictures": done,
        }
        write_json(asked.out / "people.json", report)
        return f"written to {asked.out}"

    @cached_property
    def pipe(self) -> FacePipeline:
        """The generator; real photographs do without."""
        from generation.pipeline import FacePipeline

        return FacePipeline.from_pretrained(self.arguments.weights).to(self.arguments.device)

    @cached_property
    def _photographs(self) -> tuple[Pictures, Pictures]:
        return london_pairs(self.arguments.data)

    def _lfw(self, kind: str) -> tuple[Pictures, Pictures]:
        first, second = lfw_pairs(self.arguments.data, self.arguments.people, self.arguments.seed)
        return (small_grey(first), small_grey(second)) if kind else (first, second)

    def _london(self, kind: str) -> tuple[Pictures, Pictures]:
        from encoder.detection.registry import DEFAULT_DETECTOR, create_detector
        from encoder.people.identity import largest_face

        crop = largest_face(create_detector(DEFAULT_DETECTOR), _CROP)
        cut = [[face for picture in pictures if (face := crop(picture)) is not None] for pictures in self._photographs]
        if any(len(faces) < len(self._photographs[0]) for faces in cut):
            raise UserError("london: in some photographs no face was found, so that its pairs are not whole")
        first, second = (small_grey(faces) if kind else faces for faces in cut)
        return first, second

    def _chosen(self) -> NDArray[np.int64]:
        """Rows of the people of the London Set who are edited."""
        people = np.random.default_rng(self.arguments.seed).permutation(len(self._photographs[0]))
        return np.sort(people[: self.arguments.seeds])

    def _rebuilt(self, kind: str) -> tuple[Pictures, Pictures]:
        import torch

        neutral, _ = self._london("grey")
        side = (self.pipe.tokenizer.config.size,) * 2
        faces = [np.asarray(Image.fromarray(neutral[row]).resize(side)) for row in self._chosen()]
        pixels = torch.from_numpy(np.stack(faces))[:, None].to(self.pipe.encoder.device) / 255.0
        again = self.pipe.tokenizer.decode(self.pipe.tokenizer.encode(pixels))[:, 0].clamp(0, 1) * 255
        return faces, list(again.round().to(torch.uint8).cpu().numpy())

    def _edits(self, emotion: str) -> tuple[Pictures, Pictures]:
        from encoder.detection.align import crop_face
        from encoder.detection.registry import DEFAULT_DETECTOR, create_detector

        asked, detector = self.arguments, create_detector(DEFAULT_DETECTOR)
        before, after = [], []
        for number, row in enumerate(tqdm(self._chosen(), desc=f"edit-{emotion}", disable=None, leave=False)):
            # Seeds of its own for every face: with the same ones all faces would share the luck of a few draws.
            seed = asked.seed + number * asked.proposals
            edited = self.pipe.edit(self._photographs[0][row], emotion, count=asked.proposals, seed=seed, detector=detector)
            before.append(crop_face(edited.picture, edited.face, _CROP))
            after.append(crop_face(edited.render(edited.edits[0]), edited.face, _CROP))
        return before, after

    def _strip(self, _: str) -> tuple[Pictures, Pictures]:
        rows = self.pipe.strip(_ENDS, frames=5, count=self.arguments.seeds, seed=self.arguments.seed).rows
        return [row[0].image for row in rows], [row[-1].image for row in rows]

    def _drawn(self, emotion: str, *, identity: bool) -> tuple[Pictures, Pictures]:
        """Faces of one seed; seeds of which either face was not accepted are left out."""
        asked = self.arguments
        neutral, other = (
            {face.seed: face.image for face in self.pipe(name, asked.seeds, asked.seed, identity=identity).faces}
            for name in ("neutral", emotion)
        )
        both = sorted(neutral.keys() & other.keys())
        return [neutral[seed] for seed in both], [other[seed] for seed in both]

    def _embed(self, pictures: Pictures, name: str) -> NDArray[np.float32]:
        from encoder.people.embeddings import checked_embeddings

        bar = tqdm(pictures, desc=name, unit="face", disable=None, leave=False)
        vectors = [checked_embeddings(self.embedder, [picture]) for picture in bar]
        return np.concatenate(vectors) if vectors else np.zeros((0, 1), np.float32)


def figures_of_pairs(
    first: NDArray[np.float32], second: NDArray[np.float32], embedder: Embedder, *, seed: int = 0
) -> dict[str, Any]:
    """Distances and shares of N people with two (N, D) vectors each, with 95 % intervals.

    The pairs of different people are all N x (N - 1) of a first and a second picture. Intervals come from resampled people;
    that of ``same`` is Wilson's, because resampling sees no error where there was none. ``balanced`` has the means of the ends
    of both shares, which is rather too wide.
    """
    from encoder.evaluation.metrics import bootstrap, wilson_interval
    from encoder.people.embeddings import distances

    table = distances(first, second, embedder.metric)
    within = table <= embedder.threshold
    people = len(table)

    def statistics(rows: NDArray[np.int64]) -> NDArray[np.float64]:
        # Somebody drawn twice is no pair of different people.
        counts = np.bincount(rows, minlength=people).astype(np.float64)
        weights = np.outer(counts, counts)
        np.fill_diagonal(weights, 0.0)
        total = weights.sum() or np.nan
        own, same = table.diagonal()[rows].mean(), within.diagonal()[rows].mean()
        different = 1.0 - (weights * within).sum() / total
        return np.array([own, (weights * table).sum() / total, same, different])

    names = ("distance", "others", "same", "different")
    values = dict(zip(names, statistics(np.arange(people)), strict=True))
    ends = dict(zip(names, np.stack(bootstrap(statistics, people, resamples=_RESAMPLES, seed=seed), axis=1), strict=True))
    ends["same"] = np.array(wilson_interval(int(within.diagonal().sum()), people))
    for both in (values, ends):
        both["balanced"] = (both["same"] + both["different"]) / 2
    figures = {
        name: {"value": round(float(value), 4), "interval": [round(float(end), 4) for end in ends[name]]}
        for name, value in values.items()
    }
    return {"people": people, "pairs_of_different_people": people * (people - 1), **figures}
