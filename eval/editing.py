"""What editing does to real faces: the emotion by two judges, the change, and identity if an embedder is named."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.cli import UserError, command, command_parser

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from encoder.detection.face import Face
    from encoder.inference.emotion_encoder import EmotionEncoder
    from encoder.people.embeddings import Embedder
    from generation.editing.face import EditedFace
    from generation.pipeline import FacePipeline

EXAMPLES = """examples:
  python -m eval.editing --data DATA
  python -m eval.editing --data DATA --from happiness --emotions sadness,anger --count 50 --embedder dlib:FILE
  python -m eval.editing --data DATA --keep 0 --sheet out/editing/sheet.png

Test faces of FER-2013 labelled --from are edited into each emotion; the best of --proposals by the encoder counts, as in
generation.edit. "encoder" and "judge" are the shares of edited faces to which each gives the emotion asked for, "judge,
before" the share to which the second judge gave it before the edit; only the judge is independent of the choice. "change"
is in percent of the full range of luma. Identity is left out without --embedder."""


def build_parser() -> argparse.ArgumentParser:
    """The command line; imports nothing heavy."""
    parser = command_parser("python -m eval.editing", __doc__, EXAMPLES)
    parser.add_argument("--data", required=True, help="folder with FER-2013")
    parser.add_argument("--from", dest="start", default="neutral", help="label of the faces (default: %(default)s)")
    parser.add_argument("--emotions", help="default: all but that of the faces")
    parser.add_argument("--count", type=int, default=24, help="faces (default: %(default)s)")
    parser.add_argument("--proposals", type=int, default=8, help="of which the best counts (default: %(default)s)")
    parser.add_argument("--intensity", type=float, default=1.0)
    parser.add_argument("--keep", type=float, default=2.0, help="default: %(default)s")
    parser.add_argument("--region", default="brows,eyes,mouth", help="default: %(default)s")
    parser.add_argument("--encoder-guidance", type=float)
    parser.add_argument("--guidance", type=float)
    parser.add_argument("--source", choices=("fer2013", "faces128", "drawn"))
    parser.add_argument("--seed", type=int, default=0, help="chooses faces and proposals")
    parser.add_argument("--embedder", metavar="NAME", help="dlib:FILE or deepface:Facenet512")
    parser.add_argument("--weights", default="pretrained", help="default: %(default)s")
    parser.add_argument("--judge", default="pretrained/judge", help="default: %(default)s")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, default=Path("out/editing"), help="default: %(default)s")
    parser.add_argument("--sheet", type=Path, help="also write the first faces before and after, for people who may see them")
    return parser


_SETTINGS = ("guidance", "encoder_guidance", "source")
_SHEET_ROWS = 8


class WholePicture:
    """A detector for pictures that are cropped faces already."""

    def detect(self, picture: NDArray[np.uint8]) -> list[Face]:
        """One face that fills the picture."""
        from encoder.detection.align import FER_SCALE
        from encoder.detection.face import Face

        height, width = picture.shape[:2]
        side = round(min(height, width) / FER_SCALE)
        return [Face(((width - side) // 2, (height - side) // 2, side, side))]


def figures(edited: Sequence[EditedFace], emotion: int) -> dict[str, Any]:
    """Shares and means over the best edits of some faces."""
    from encoder.evaluation.metrics import wilson_interval

    best, before = [each.edits[0] for each in edited], [each.before for each in edited]
    count = len(best)

    def share(hits: Sequence[bool]) -> dict[str, Any]:
        return {"share": round(sum(hits) / count, 4), "interval": [round(x, 4) for x in wilson_interval(sum(hits), count)]}

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
        "identity_distance": round(sum(i.distance for i in identities) / count, 4) if identities else None,
        "seconds_per_face": round(sum(each.seconds for each in edited) / count, 3),
    }


def choose(data: str, start: int, count: int, seed: int) -> NDArray[np.uint8]:
    """(count, S, S, 3) test faces with that label.

    Raises:
        UserError: there are not so many.
    """
    import numpy as np

    from encoder.data.load import load_faces
    from encoder.emotions import EMOTION_NAMES

    faces = load_faces(Path(data).expanduser(), "test", size=96)
    rows = np.flatnonzero(faces.labels == start)
    if not 2 <= count <= len(rows):
        raise UserError(
            f"--count: must lie between 2 and {len(rows)}, the test faces labelled {EMOTION_NAMES[start]}; got {count}"
        )
    chosen = np.random.default_rng(seed).permutation(rows)[:count]
    return np.repeat(faces.images[np.sort(chosen)][..., None], 3, axis=3)


def main(argv: Sequence[str]) -> int:
    """Edit, measure, print; writes ``editing.json``."""
    arguments = build_parser().parse_args(argv)
    from encoder.emotions import EMOTION_NAMES, parse_emotion

    start = parse_emotion(arguments.start)
    wanted = arguments.emotions.split(",") if arguments.emotions else [name for name in EMOTION_NAMES if name != start.label]
    emotions = tuple(dict.fromkeys(parse_emotion(name).label for name in wanted))
    import json

    from encoder.inference.emotion_encoder import EmotionEncoder
    from encoder.people.embeddings import create_embedder
    from engine.storage.atomic import atomic_write_text, make_folder, require_file_place, require_place
    from engine.storage.weights import resolve_folder
    from generation.pipeline import FacePipeline

    require_place(arguments.out)
    require_file_place(arguments.sheet, "--sheet")
    pipe = FacePipeline.from_pretrained(arguments.weights).to(arguments.device)
    judge = EmotionEncoder.from_pretrained(resolve_folder(arguments.judge)).to(pipe.encoder.device)
    embedder = create_embedder(arguments.embedder, device=arguments.device) if arguments.embedder else None
    faces = choose(arguments.data, start, arguments.count, arguments.seed)
    report: dict[str, Any] = {
        "data": "fer2013",
        "split": "test",
        "from": start.label,
        **{name: getattr(arguments, name) for name in ("count", "proposals", "intensity", "keep", "region", "seed", "embedder")},
        "settings": _given(arguments),
        "weights_sha256": pipe.weights,
        "emotions": {},
    }
    print(f"{'emotion':<10} {'encoder':>8} {'judge':>6} {'judge, before':>14} {'change':>7} {'same person':>12} {'seconds':>8}")
    shown: list[list[EditedFace]] = []
    for emotion in emotions:
        edited = _edit_all(pipe, faces, emotion, arguments, judge, embedder)
        found = report["emotions"][emotion] = figures(edited, EMOTION_NAMES.index(emotion))
        shown.append(edited[:_SHEET_ROWS])
        same = f"{found['same_person']['share']:.2f}" if found["same_person"] else "-"
        print(
            f"{emotion:<10} {found['encoder']['share']:>8.2f} {found['judge']['share']:>6.2f} "
            f"{found['judge_before']['share']:>14.2f} {100 * found['change']:>7.1f} {same:>12} {found['seconds_per_face']:>8.2f}"
        )
    make_folder(arguments.out)
    atomic_write_text(arguments.out / "editing.json", json.dumps(report, indent=2) + "\n")
    if arguments.sheet is not None:
        _write_sheet(shown, emotions, start.label, arguments.sheet)
    return 0


def _given(arguments: argparse.Namespace) -> dict[str, Any]:
    return {name: getattr(arguments, name) for name in _SETTINGS if getattr(arguments, name) is not None}


def _edit_all(
    pipe: FacePipeline,
    faces: NDArray[np.uint8],
    emotion: str,
    arguments: argparse.Namespace,
    judge: EmotionEncoder,
    embedder: Embedder | None,
) -> list[EditedFace]:
    from tqdm import tqdm

    return [
        pipe.edit(
            face,
            emotion,
            intensity=arguments.intensity,
            count=arguments.proposals,
            seed=arguments.seed,
            region=arguments.region,
            keep=arguments.keep,
            detector=WholePicture(),
            judge=judge,
            embedder=embedder,
            **_given(arguments),
        )
        for face in tqdm(faces, desc=emotion, unit="face", disable=None, leave=False)
    ]


def _write_sheet(shown: list[list[EditedFace]], emotions: Sequence[str], start: str, path: Path) -> None:
    """A face a row: as it was, then its best edit into each emotion."""
    from engine.storage.atomic import atomic_write_bytes, make_folder
    from engine.storage.provenance import png
    from generation.files import sheet

    images, labels = [], []
    for row in zip(*shown, strict=True):
        images += [row[0].picture, *(each.render(each.edits[0]) for each in row)]
        labels += [start, *emotions]
    made = sheet(images, labels, len(emotions) + 1, 112, "Left: test faces. Others: AI-edited")
    make_folder(path.parent)
    atomic_write_bytes(path, png(made, {"Emotion": ", ".join(emotions)}, kind="edited"))


cli = command(main)


if __name__ == "__main__":
    cli()
