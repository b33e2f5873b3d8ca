"""Does a face show more of an emotion when more is asked for? Two judges read generated faces over rising intensity."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.cli import UserError, command, command_parser

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from encoder.inference.emotion_encoder import EmotionEncoder
    from generation.pipeline import FacePipeline

EXAMPLES = """examples:
  python -m eval.intensity
  python -m eval.intensity --count 64 --identity --out out/intensity-identity
  python -m eval.intensity --emotions fear,happiness --levels 6 --guidance 1.5
  python -m eval.intensity --sheet docs/intensity.png

For each emotion but neutral the same seeds are drawn at every level, without any selection, and both judges say how
probable the emotion is. "rank" is Spearman's correlation of level and probability over all faces, "person" its mean over
seeds (a seed whose readings never change counts 0), "falls" the steps at which the mean goes down. Written: intensity.json
and the plot intensity.png; with --sheet also one person a row at rising intensity, best of a few draws."""

SHEET_FRAMES = 8


def build_parser() -> argparse.ArgumentParser:
    """The command line; imports nothing heavy."""
    parser = command_parser("python -m eval.intensity", __doc__, EXAMPLES)
    parser.add_argument("--count", type=int, default=32, help="faces of each emotion and level (default: %(default)s)")
    parser.add_argument("--levels", type=int, default=11, help="intensities from 0 to 1 (default: %(default)s)")
    parser.add_argument("--emotions", help="default: all but neutral")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--identity", action="store_true", help="change only brows, eyes and mouth of one person a seed")
    parser.add_argument("--guidance", type=float)
    parser.add_argument("--encoder-guidance", type=float)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--temperature", type=float)
    parser.add_argument("--source", choices=("fer2013", "faces128", "drawn"))
    parser.add_argument("--weights", default="pretrained", help="default: %(default)s")
    parser.add_argument("--judge", default="pretrained/judge", help="default: %(default)s")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, default=Path("out/intensity"), help="default: %(default)s")
    parser.add_argument("--sheet", type=Path, help="also write faces: one emotion and one person a row")
    return parser


_SETTINGS = ("guidance", "encoder_guidance", "steps", "temperature", "source")


def spearman(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    """Spearman's rank correlation of two sequences of equal length, ties at their mean rank; 0 where one never changes.

    Raises:
        ValueError: lengths differ, or fewer than two values.
    """
    import numpy as np

    one, two = np.asarray(a, np.float64).ravel(), np.asarray(b, np.float64).ravel()
    if len(one) != len(two) or len(one) < 2:
        raise ValueError(f"need two sequences of one length, at least 2, got {len(one)} and {len(two)}")
    x, y = (_ranks(values) - (len(values) - 1) / 2 for values in (one, two))
    spread = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / spread if spread else 0.0


def _ranks(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    import numpy as np

    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = counts.cumsum()
    return (last - (counts + 1) / 2)[place]


def rise(readings: npt.NDArray[np.float64], levels: Sequence[float]) -> dict[str, Any]:
    """How steadily (levels, faces) probabilities rise with the level.

    Returns:
        ``mean`` and its 95 % bootstrap ``interval`` at each level; Spearman's correlation with the level of the means
        (``spearman_of_means``), over all faces (``spearman``) and within each seed, averaged (``spearman_within_seed``);
        ``falls``, the steps at which the mean falls, and ``largest_fall``.
    """
    import numpy as np

    from eval.measures.distances import bootstrap

    means = readings.mean(axis=1)
    steps = np.diff(means)
    faces = readings.shape[1]

    def interval(row: npt.NDArray[np.float64]) -> list[float]:
        return [round(value, 4) for value in bootstrap(lambda rows: float(row[rows].mean()), faces)]

    return {
        "mean": [round(float(mean), 4) for mean in means],
        "interval": [interval(row) for row in readings],
        "spearman_of_means": round(spearman(levels, means), 4),
        "spearman": round(spearman(np.repeat(levels, faces), readings), 4),
        "spearman_within_seed": round(float(np.mean([spearman(levels, column) for column in readings.T])), 4),
        "falls": int((steps < 0).sum()),
        "largest_fall": round(float(max(0.0, -steps.min())), 4),
    }


def measure(
    pipe: FacePipeline, judge: EmotionEncoder, emotion: str, levels: Sequence[float], arguments: argparse.Namespace, advance: Any
) -> dict[str, Any]:
    """Figures of one emotion by both judges; ``advance`` is called with the number of faces after each level."""
    import numpy as np

    from encoder.emotions import EMOTION_NAMES
    from generation.people import People

    settings = {name: getattr(arguments, name) for name in _SETTINGS if getattr(arguments, name) is not None}
    column, people = EMOTION_NAMES.index(emotion), None
    read: dict[str, list[Any]] = {"encoder": [], "judge": []}
    for level in levels:
        request = pipe.request(emotion, arguments.count, arguments.seed, intensity=level, identity=arguments.identity, **settings)
        people = people or People(pipe, request)
        faces = pipe.draw_all(request, people=people).faces
        read["encoder"].append([face.verdict.distribution[column] for face in faces])
        seen = judge.predict(np.stack([face.image for face in faces])).distributions
        read["judge"].append(seen[:, column].tolist())
        advance(len(faces))
    return {name: rise(np.array(rows), levels) for name, rows in read.items()}


def parse_emotions(text: str | None) -> tuple[str, ...]:
    """Names between commas; None: all but neutral.

    Raises:
        UserError: an unknown name, or neutral, which has no intensity.
    """
    from encoder.emotions import EMOTION_NAMES, Emotion, parse_emotion

    if text is None:
        return tuple(name for name in EMOTION_NAMES if name != Emotion.NEUTRAL.label)
    chosen = tuple(parse_emotion(name) for name in text.split(","))
    if Emotion.NEUTRAL in chosen:
        raise UserError("--emotions: neutral is where intensity begins; leave it out")
    return tuple(dict.fromkeys(emotion.label for emotion in chosen))


def main(argv: Sequence[str]) -> int:
    """Measure, plot, print; writes ``intensity.json`` and ``intensity.png``."""
    arguments = build_parser().parse_args(argv)
    emotions = parse_emotions(arguments.emotions)
    if not 3 <= arguments.levels <= 101:
        raise UserError(f"--levels: must lie between 3 and 101, got {arguments.levels}")
    if arguments.count < 2:
        raise UserError(f"--count: must be at least 2, got {arguments.count}")
    import json

    from tqdm import tqdm

    from encoder.inference.emotion_encoder import EmotionEncoder
    from engine.storage.atomic import atomic_write_bytes, atomic_write_text, make_folder, require_file_place, require_place
    from engine.storage.weights import resolve_folder
    from eval.intensity_plot import intensity_plot
    from generation.pipeline import FacePipeline

    require_place(arguments.out)
    require_file_place(arguments.sheet, "--sheet")
    pipe = FacePipeline.from_pretrained(arguments.weights).to(arguments.device)
    judge = EmotionEncoder.from_pretrained(resolve_folder(arguments.judge)).to(pipe.encoder.device)
    levels = [number / (arguments.levels - 1) for number in range(arguments.levels)]
    figures: dict[str, Any] = {}
    print(f"{'':<10} {'encoder':>30}   {'second judge':>30}")
    print(f"{'emotion':<10} " + "   ".join([f"{'0':>6} {'1':>6} {'rank':>5} {'person':>6} {'falls':>4}"] * 2))
    total = len(emotions) * len(levels) * arguments.count
    with tqdm(total=total, desc="drawing", unit="face", disable=None, leave=False) as bar:
        for emotion in emotions:
            figures[emotion] = measure(pipe, judge, emotion, levels, arguments, bar.update)
            tqdm.write(f"{emotion:<10} " + "   ".join(_row(row) for row in figures[emotion].values()))
    request = pipe.request(emotions[0], arguments.count, arguments.seed, identity=arguments.identity)
    settings = {name: getattr(arguments, name) for name in _SETTINGS if getattr(arguments, name) is not None}
    report = {
        "count": arguments.count,
        "seed": arguments.seed,
        "levels": levels,
        "selection": "none, first draws",
        "settings": {**request.as_record(), "emotion": None, **settings},
        "weights_sha256": pipe.weights,
        "emotions": figures,
    }
    make_folder(arguments.out)
    caption = f"{arguments.count} faces a point, seeds {arguments.seed} to {arguments.seed + arguments.count - 1}, no selection"
    atomic_write_bytes(arguments.out / "intensity.png", intensity_plot(levels, figures, caption))
    atomic_write_text(arguments.out / "intensity.json", json.dumps(report, indent=2) + "\n")
    if arguments.sheet is not None:
        _write_sheet(pipe, emotions, arguments.seed, settings, arguments.sheet)
    print(f"written to {arguments.out}")
    return 0


def _row(figures: dict[str, Any]) -> str:
    means = figures["mean"]
    return (
        f"{means[0]:>6.2f} {means[-1]:>6.2f} {figures['spearman']:>5.2f} {figures['spearman_within_seed']:>6.2f} "
        f"{figures['falls']:>5}"
    )


def _write_sheet(pipe: FacePipeline, emotions: Sequence[str], seed: int, settings: dict[str, Any], path: Path) -> None:
    """Row i: the person of ``seed + i`` from neutral to the emotion."""
    from engine.storage.atomic import atomic_write_bytes, make_folder
    from engine.storage.provenance import png, weights_text
    from generation.files import sheet

    images, labels = [], []
    for row, emotion in enumerate(emotions):
        strip = pipe.strip(f"neutral:{emotion}", SHEET_FRAMES, 1, seed + row, max_tries=8, **settings)
        images += [face.image for face in strip.rows[0]]
        labels += [f"{emotion} {asked:.2f}" for asked in (number / (SHEET_FRAMES - 1) for number in range(SHEET_FRAMES))]
    made = sheet(images, labels, SHEET_FRAMES, 112, "AI-generated: one person a row, from neutral to full intensity")
    texts = {"Emotion": ", ".join(emotions), "Seed": f"{seed} and following", "Weights SHA-256": weights_text(pipe.weights)}
    make_folder(path.parent)
    atomic_write_bytes(path, png(made, texts))


cli = command(main)


if __name__ == "__main__":
    cli()
