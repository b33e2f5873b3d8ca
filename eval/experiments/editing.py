"""What editing does to real faces: the emotion by two readers, the change, and identity if an embedder is named."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from configs.cli import UserError
from encoder.emotions import EMOTION_NAMES, parse_emotion
from engine.storage.atomic import write_json
from eval.experiments import options
from eval.experiments.experiment import DrawingExperiment, Figures
from eval.faces.real import load_real
from eval.measures.accuracy import wilson
from eval.output.sheet import write_sheet

if TYPE_CHECKING:
    from encoder.detection.face import DetectedFace
    from generation.editing.face import EditedFace

SIZE = 96
_SHEET_ROWS = 8


class WholePicture:
    """A detector for pictures that are cropped faces already."""

    def detect(self, picture: NDArray[np.uint8]) -> list[DetectedFace]:
        from encoder.detection.align import FER_SCALE
        from encoder.detection.face import DetectedFace

        height, width = picture.shape[:2]
        side = round(min(height, width) / FER_SCALE)
        return [DetectedFace(((width - side) // 2, (height - side) // 2, side, side))]


class Editing(DrawingExperiment[str]):
    """The points are the emotions that the faces are edited into."""

    name = "editing"
    columns = ("emotion", "encoder", "judge", "judge, before", "change", "same person", "seconds")
    examples = """examples:
  python -m eval.editing --data DATA
  python -m eval.editing --data DATA --from happiness --emotions sadness,anger --count 50 --embedder dlib
  python -m eval.editing --data DATA --keep 0 --sheet out/editing/sheet.png

Test faces of FER-2013 labelled --from are edited into each emotion; the best of --proposals by the encoder counts, as in
generation.edit. "encoder" and "judge" are the shares of edited faces to which each gives the emotion asked for, "judge,
before" the share to which the second judge gave it before the edit; only the judge is independent of the choice. "change"
is in percent of the full range of luma. Identity is left out without --embedder."""

    @classmethod
    def options(cls, parser: argparse.ArgumentParser) -> None:
        options.add_data(parser, drawn=False)
        parser.add_argument("--from", dest="start", default="neutral", help=f"label of the faces ({options.DEFAULT})")
        parser.add_argument("--emotions", type=options.words, help="default: all but that of the faces")
        parser.add_argument("--count", type=int, default=24, help=f"faces ({options.DEFAULT})")
        parser.add_argument("--proposals", type=int, default=8, help=f"of which the best counts ({options.DEFAULT})")
        parser.add_argument("--intensity", type=float, default=1.0, help=f"0 neutral to 1 full ({options.DEFAULT})")
        parser.add_argument("--keep", type=float, default=2.0, help=options.DEFAULT)
        parser.add_argument("--region", default="brows,eyes,mouth", help=options.DEFAULT)
        options.add_settings(parser, "encoder_guidance", "guidance", "look")
        parser.add_argument("--seed", type=int, default=0, help="chooses faces and proposals")
        parser.add_argument("--embedder", metavar="NAME", help="dlib or deepface:Facenet512")
        options.add_networks(parser)
        options.add_out(parser, cls.name, sheet="also write the first faces before and after, for people who may see them")

    def plan(self) -> dict[str, str]:
        self.start = parse_emotion(self.arguments.start)
        self.shown: list[list[EditedFace]] = []
        emotions = options.parse_emotions(self.arguments.emotions, without=self.start.label)
        return dict(zip(emotions, emotions, strict=True))

    def load(self) -> None:
        super().load()
        from encoder.people.embedders import create_embedder

        asked = self.arguments
        self.embedder = create_embedder(asked.embedder, device=asked.device) if asked.embedder else None
        self.faces = choose(asked.data, self.start, asked.count, asked.seed)

    def measure(self, point: str) -> Figures:
        asked = self.arguments
        settings = {"intensity": asked.intensity, "region": asked.region, "keep": asked.keep, **options.given_settings(asked)}
        tools: dict[str, Any] = {"detector": WholePicture(), "judge": self.judge, "embedder": self.embedder}
        edited = [
            # Seeds of its own for every face: with the same ones all faces would share the luck of a few draws.
            self.pipe.edit(face, point, count=asked.proposals, seed=asked.seed + number * asked.proposals, **settings, **tools)
            for number, face in enumerate(tqdm(self.faces, desc=point, unit="face", disable=None, leave=False))
        ]
        self.shown.append(edited[:_SHEET_ROWS])
        return figures_of_edits(edited, EMOTION_NAMES.index(point))

    def lines(self, name: str, figures: Figures) -> Iterator[Sequence[str]]:
        shares = (figures[key]["share"] for key in ("encoder", "judge", "judge_before"))
        same = f"{figures['same_person']['share']:.2f}" if figures["same_person"] else "-"
        seconds = f"{figures['seconds_per_face']:.2f}"
        yield name, *(f"{share:.2f}" for share in shares), f"{100 * figures['change']:.1f}", same, seconds

    def write(self, done: Mapping[str, Figures]) -> str:
        """Write ``editing.json`` and the sheet: a face a row, as it was, then its best edit into each emotion."""
        asked = self.arguments
        named = ("count", "proposals", "intensity", "keep", "region", "seed", "embedder")
        report = {
            "data": "fer2013",
            "split": "test",
            "from": self.start.label,
            **{name: getattr(asked, name) for name in named},
            "settings": options.given_settings(asked),
            "weights_sha256": self.pipe.weights,
            "emotions": done,
        }
        write_json(asked.out / "editing.json", report)
        if asked.sheet is not None:
            rows = list(zip(*self.shown, strict=True))
            images = [picture for row in rows for picture in (row[0].picture, *(each.render(each.edits[0]) for each in row))]
            labels, title = [self.start.label, *done] * len(rows), "Left: test faces. Others: AI-edited"
            write_sheet(asked.sheet, images, labels, len(done) + 1, title, {"Emotion": ", ".join(done)}, kind="edited")
        return f"written to {asked.out}"


def figures_of_edits(edited: Sequence[EditedFace], emotion: int) -> Figures:
    """Shares and means over the best edits of some faces."""
    best, before, count = [each.edits[0] for each in edited], [each.before for each in edited], len(edited)

    def share(hits: Sequence[bool]) -> Figures:
        return {"share": round(sum(hits) / count, 4), "interval": wilson(sum(hits), count)}

    def top(judged: tuple[float, ...] | None) -> int:
        return -1 if judged is None else max(range(len(judged)), key=judged.__getitem__)

    identities = [edit.identity for edit in best if edit.identity is not None]
    return {
        "faces": count,
        "encoder": share([edit.verdict.top == emotion for edit in best]),
        "judge": share([top(edit.judged) == emotion for edit in best]),
        "judge_before": share([top(edit.judged) == emotion for edit in before]),
        "change": round(sum(edit.change for edit in best) / count, 4),
        "same_person": share([identity.same for identity in identities]) if identities else None,
        "identity_distance": round(sum(each.distance for each in identities) / count, 4) if identities else None,
        "seconds_per_face": round(sum(each.seconds for each in edited) / count, 3),
    }


def choose(data: str, start: int, count: int, seed: int) -> NDArray[np.uint8]:
    """(count, S, S, 3) test faces with that label.

    Raises:
        UserError: there are not so many.
    """
    faces = load_real(data, "test", SIZE)
    rows = np.flatnonzero(faces.labels == start)
    if not 2 <= count <= len(rows):
        there = f"{len(rows)}, the test faces labelled {EMOTION_NAMES[start]}"
        raise UserError(f"--count: must lie between 2 and {there}; got {count}")
    chosen = np.random.default_rng(seed).permutation(rows)[:count]
    return np.repeat(faces.images[np.sort(chosen)][..., None], 3, axis=3)
