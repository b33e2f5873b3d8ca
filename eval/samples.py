"""How often generated faces show what was asked for: before selection, after it, by the encoder and by a second judge."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.cli import UserError, command, command_parser

if TYPE_CHECKING:
    from encoder.inference.emotion_encoder import EmotionEncoder
    from generation.faces import FaceBatch
    from generation.pipeline import FacePipeline

EXAMPLES = """examples:
  python -m eval.samples
  python -m eval.samples --per-emotion 100 --seed 1000 --guidance 3 --data DATA
  python -m eval.samples --sheet docs/emotions.png --columns 8

Columns: "first try" is the share of first draws that the encoder accepts; "judge" the share of faces that the second
judge, which takes no part in guidance or selection, gives the emotion asked for, among all first draws and among the
accepted faces; "judge, real" (with --data) the same for real test faces of that emotion: the figure to compare with."""


def build_parser() -> argparse.ArgumentParser:
    """The command line; imports nothing heavy."""
    parser = command_parser("python -m eval.samples", __doc__, EXAMPLES)
    parser.add_argument("--per-emotion", type=int, default=64, help="faces of each emotion (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--guidance", type=float)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--temperature", type=float)
    parser.add_argument("--threshold", type=float)
    parser.add_argument("--source", choices=("fer2013", "faces128", "drawn"))
    parser.add_argument("--weights", default="pretrained", help="default: %(default)s")
    parser.add_argument("--judge", default="pretrained/judge", help="default: %(default)s")
    parser.add_argument("--data", help="folder with FER-2013: adds the judges' shares on real test faces")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, default=Path("out/samples"), help="default: %(default)s")
    parser.add_argument("--sheet", type=Path, help="also write a contact sheet, one emotion a row")
    parser.add_argument("--columns", type=int, default=8, help="faces a row on the sheet (default: %(default)s)")
    return parser


def share_given(judge: EmotionEncoder, batch: FaceBatch, emotion: int) -> list[bool]:
    """For each face of ``batch``, whether ``judge`` finds ``emotion`` likeliest."""
    import numpy as np

    if not batch.faces:
        return []
    read = judge.predict(np.stack([face.image for face in batch.faces])).distributions
    return [bool(hit) for hit in read.argmax(dim=1) == emotion]


def measure_emotion(pipe: FacePipeline, judge: EmotionEncoder, emotion: int, arguments: Any) -> tuple[dict[str, Any], FaceBatch]:
    """Figures of one emotion, and its accepted faces."""
    from encoder.emotions import EMOTION_NAMES
    from encoder.evaluation.metrics import wilson_interval

    names = ("guidance", "steps", "temperature", "threshold", "source")
    settings = {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}
    count, name = arguments.per_emotion, EMOTION_NAMES[emotion]
    # A threshold of 0 and one try would still drop faces whose top emotion is another: all first draws are wanted here.
    first = pipe.draw_all(pipe.request(name, count, arguments.seed, **settings))
    picked = pipe(name, count, arguments.seed, **settings)
    firsts = share_given(judge, first, emotion)
    kept = share_given(judge, picked, emotion)
    passed = sum(face.verdict.accepted for face in first.faces)
    on_top = sum(face.verdict.top == emotion for face in first.faces)
    return {
        "asked": count,
        "first_try_on_top": round(on_top / count, 4),
        "first_try_accepted": round(passed / count, 4),
        "first_try_accepted_interval": [round(x, 4) for x in wilson_interval(passed, count)],
        "accepted": len(picked.faces),
        "tried": picked.tried,
        "mean_match": round(sum(v.match for v in picked.verdicts) / max(len(picked.faces), 1), 4),
        "seconds": round(picked.seconds, 2),
        "judge_first_try": round(sum(firsts) / max(len(firsts), 1), 4),
        "judge_accepted": round(sum(kept) / max(len(kept), 1), 4),
        "judge_accepted_interval": [round(x, 4) for x in wilson_interval(sum(kept), len(kept))],
    }, picked


def real_shares(judges: dict[str, EmotionEncoder], path: Path) -> dict[str, dict[str, float]]:
    """Per emotion and judge: recall on real test faces with that FER-2013 label."""
    from encoder.data.load import load_faces
    from encoder.emotions import EMOTION_NAMES

    faces = load_faces(path, "test")
    shares: dict[str, dict[str, float]] = {name: {} for name in EMOTION_NAMES}
    for who, judge in judges.items():
        tops = judge.predict(faces.images).distributions.argmax(dim=1).numpy()
        for emotion, name in enumerate(EMOTION_NAMES):
            rows = faces.labels == emotion
            shares[name][who] = round(float((tops[rows] == emotion).mean()), 4)
    return shares


def main(argv: Sequence[str]) -> int:
    """Measure all seven emotions; writes ``samples.json``."""
    arguments = build_parser().parse_args(argv)
    for name in ("per_emotion", "columns"):
        if getattr(arguments, name) < 1:
            raise UserError(f"--{name.replace('_', '-')}: must be at least 1, got {getattr(arguments, name)}")
    import json

    import torch

    from encoder.emotions import EMOTION_NAMES
    from encoder.inference.emotion_encoder import EmotionEncoder
    from engine.storage.atomic import atomic_write_text, make_folder, require_file_place, require_place
    from engine.storage.provenance import weights_text
    from engine.storage.weights import resolve_folder
    from generation.pipeline import FacePipeline
    from vqvae.grids import save_grid

    require_place(arguments.out)
    require_file_place(arguments.sheet, "--sheet")
    pipe = FacePipeline.from_pretrained(arguments.weights).to(arguments.device)
    judge = EmotionEncoder.from_pretrained(resolve_folder(arguments.judge)).to(pipe.encoder.device)
    real = {}
    if arguments.data is not None:
        real = real_shares({"encoder": pipe.encoder, "judge": judge}, Path(arguments.data).expanduser())
    report: dict[str, Any] = {"seed": arguments.seed, "per_emotion": arguments.per_emotion, "weights": pipe.weights}
    rows, labels = [], []
    print(f"{'emotion':<10} {'first try':>9} {'tries/face':>10} {'judge':>6} {'judge, accepted':>16} {'judge, real':>12}")
    for emotion, name in enumerate(EMOTION_NAMES):
        figures, batch = measure_emotion(pipe, judge, emotion, arguments)
        report[name] = {**figures, **({"real": real[name]} if real else {})}
        shown = f"{real[name]['judge']:.2f}" if real else "-"
        print(
            f"{name:<10} {figures['first_try_accepted']:>9.2f} {figures['tried'] / max(figures['accepted'], 1):>10.1f} "
            f"{figures['judge_first_try']:>6.2f} {figures['judge_accepted']:>16.2f} {shown:>12}"
        )
        report["request"] = batch.request.model_dump(mode="json", exclude={"emotion", "seed", "count"})
        chosen = [torch.from_numpy(face.image) for face in batch.faces[: arguments.columns]]
        blank = torch.full((pipe.tokenizer.config.size,) * 2, 255, dtype=torch.uint8)
        rows += chosen + [blank] * (arguments.columns - len(chosen))
        labels.append(name)
    make_folder(arguments.out)
    atomic_write_text(arguments.out / "samples.json", json.dumps(report, indent=2) + "\n")
    if arguments.sheet is not None:
        faces = torch.stack(rows).unsqueeze(1).float() / 255.0
        texts = {"Seed": f"{arguments.seed} and following", "Weights SHA-256": weights_text(pipe.weights)}
        save_grid(faces, arguments.columns, arguments.sheet, labels=tuple(labels), texts=texts)
    return 0


cli = command(main)


if __name__ == "__main__":
    cli()
