"""Points of a sweep over settings of generation: each drawn and measured once, and kept in a file of its own."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from configs.cli import UserError

if TYPE_CHECKING:
    from encoder.data.face_set import FaceSet
    from encoder.inference.emotion_encoder import EmotionEncoder, Prediction
    from eval.measures.real_reference import RealFaces
    from generation.faces import FaceBatch
    from generation.pipeline import FacePipeline

T = TypeVar("T")


def add_arguments(parser: argparse.ArgumentParser, *, per_emotion: int, out: str) -> None:
    """What every such command takes, beside its settings: faces, weights, place."""
    parser.add_argument("--data", required=True, help='folder with FER-2013, or "drawn"')
    parser.add_argument("--split", choices=("valid", "test"), default="valid", help="held-out faces (default: %(default)s)")
    parser.add_argument("--per-emotion", type=int, default=per_emotion, help="faces an emotion and point (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=50000, help="of the first face (default: %(default)s)")
    parser.add_argument("--bootstrap", type=int, default=100, help="rounds (default: %(default)s)")
    parser.add_argument("--weights", default="pretrained", help="default: %(default)s")
    parser.add_argument("--encoder", help="another folder for the encoder")
    parser.add_argument("--judge", default="pretrained/judge", help="default: %(default)s")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, default=Path(out), help="default: %(default)s")


def numbers(text: str) -> tuple[float, ...]:
    """``"1,2.5,4"`` as numbers, each once; for argparse."""
    try:
        return tuple(dict.fromkeys(float(part) for part in text.split(",")))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of numbers like 1,2.5,4") from None


def whole(option: str, value: float) -> int:
    """A number that has to be whole.

    Raises:
        UserError: it is not; the message names ``option``.
    """
    if value % 1 != 0:  # also of nan and inf
        raise UserError(f"{option}: {value:g} is no whole number")
    return int(value)


@dataclass(frozen=True)
class Bench:
    """What all points of one command share.

    Attributes:
        judges: ``encoder`` (it verifies and guides) and ``judge`` (it takes no part).
        train, held_out: real faces at the generated faces' size, so that all take the same way into the judges.
        made_from: what a stored point must agree with to be used again.
    """

    pipe: FacePipeline
    judges: Mapping[str, EmotionEncoder]
    train: FaceSet
    held_out: FaceSet
    made_from: Mapping[str, Any]


def set_up(arguments: argparse.Namespace, **further: Any) -> Bench:
    """Load networks and faces named by the options of :func:`add_arguments`; ``further`` goes into ``made_from``.

    Raises:
        UserError: weights or faces are missing or refused.
    """
    from encoder.inference.emotion_encoder import EmotionEncoder
    from engine.storage.atomic import require_place
    from engine.storage.weights import WEIGHTS_FILE, file_sha256, resolve_folder
    from generation.pipeline import FacePipeline
    from vqvae.token_cache import array_sha256

    require_place(arguments.out)
    pipe = FacePipeline.from_pretrained(arguments.weights, encoder=arguments.encoder).to(arguments.device)
    folder = resolve_folder(arguments.judge)
    judges = {"encoder": pipe.encoder, "judge": EmotionEncoder.from_pretrained(folder).to(pipe.encoder.device)}
    train, held_out = _load(arguments, pipe.tokenizer.config.size)
    made_from = {
        "data": held_out.source,
        "faces_sha256": array_sha256(train.images, held_out.images),
        "split": arguments.split,
        "seed": arguments.seed,
        "per_emotion": arguments.per_emotion,
        "bootstrap": arguments.bootstrap,
        "weights": {**pipe.weights, "judge": file_sha256(folder / WEIGHTS_FILE)},
        **further,
    }
    return Bench(pipe, judges, train, held_out, made_from)


def _load(arguments: argparse.Namespace, size: int) -> tuple[FaceSet, FaceSet]:
    if arguments.data == "drawn":
        from encoder.drawing.faces import drawn_set
        from encoder.emotions import NUM_EMOTIONS

        count = NUM_EMOTIONS * 10 * arguments.per_emotion
        return drawn_set("train", count, size=size), drawn_set(arguments.split, 50 * NUM_EMOTIONS, size=size)
    from encoder.data.load import load_faces

    folder = Path(arguments.data).expanduser()
    return load_faces(folder, "train", size=size), load_faces(folder, arguments.split, size=size)


def measure_missing(
    bench: Bench,
    arguments: argparse.Namespace,
    points: Mapping[str, T],
    measure: Callable[[Mapping[str, RealFaces], T], dict[str, Any]],
) -> dict[str, dict[str, Any]]:
    """Figures of all ``points``: of those stored in ``--out`` as they are, of the others measured and stored one by one.

    Args:
        points: by the name of their file. measure: takes the real faces as each judge sees them, and a point.

    Raises:
        UserError: a stored point was measured on something else or is damaged, or there are too few real faces.
    """
    from tqdm import tqdm

    from engine.storage.kept_rows import keep_row, kept_row
    from eval.measures.real_reference import read_real_faces

    folder = arguments.out / "points"
    stored = {name: kept_row(folder / f"{name}.json", bench.made_from) for name in points}
    done = {name: found for name, found in stored.items() if found is not None}
    missing = [name for name in points if name not in done]
    if missing:
        real = read_real_faces(bench.judges, bench.train, bench.held_out, arguments.per_emotion)
        for name in tqdm(missing, desc="points", disable=None):
            done[name] = measure(real, points[name])
            keep_row(folder / f"{name}.json", bench.made_from, done[name])
    return {name: done[name] for name in points}


def read(judge: EmotionEncoder, batches: Sequence[FaceBatch]) -> list[Prediction]:
    """What a judge reads in each batch of faces, also in an empty one."""
    import numpy as np

    nothing = np.empty((0, 1, 1), np.uint8)
    return [judge.predict(np.stack([face.image for face in batch.faces]) if batch.faces else nothing) for batch in batches]


def accuracies(readings: Sequence[Prediction], recall: Sequence[float]) -> dict[str, dict[str, Any] | None]:
    """Share of faces to which a judge gives the emotion asked for, of ``all`` and of each emotion; None of no faces.

    Args:
        readings: of the faces of each emotion. recall: the same shares of real faces.
    """
    import numpy as np

    from encoder.emotions import EMOTION_NAMES
    from eval.measures.real_reference import share

    hits = [each.distributions.argmax(dim=1).numpy() == emotion for emotion, each in enumerate(readings)]
    rows = {"all": (np.concatenate(hits), float(np.mean(recall)))}
    rows |= dict(zip(EMOTION_NAMES, zip(hits, recall, strict=True), strict=True))
    return {name: share(mine, real) if len(mine) else None for name, (mine, real) in rows.items()}


def faces_line(made_from: Mapping[str, Any]) -> str:
    """Which faces the figures rest on, for the head of a table."""
    last = made_from["seed"] + made_from["per_emotion"] - 1
    return f"{made_from['per_emotion']} faces of each emotion, seeds {made_from['seed']} to {last}"
