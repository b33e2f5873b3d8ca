"""Judge encoders on a labelled split: tables on the screen, figures as JSON, confusion matrices, and a report page."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.cli import UserError, add_overwrite, command, command_parser

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from encoder.analysis.beyond_labels import BeyondLabels
    from encoder.data.face_set import FaceSet

EXAMPLES = """examples:
  python -m encoder.evaluate --data DATA                               shipped encoder, FER-2013 test split
  python -m encoder.evaluate --data DATA --weights pretrained/judge    the second judge
  python -m encoder.evaluate --data DATA --split valid --weights runs/encoder/weights --out runs/encoder/evaluation
  python -m encoder.evaluate --data drawn --weights runs/encoder/weights
  python -m encoder.evaluate --data DATA --report out/report           one HTML page with figures, charts and faces
  python -m encoder.evaluate --data DATA --weights pretrained/encoder --weights pretrained/judge --report out/report
  python -m encoder.evaluate --data DATA --report out/report --ladder out/ladder/short/ladder.json
  python -m encoder.evaluate --data DATA --split valid --steady --colour COLOUR128 --posed london.parquet
  python -m encoder.evaluate --data DATA --weights runs/a/weights --weights runs/b/weights --as-seeds

DATA is a folder with FER-2013 in any of its forms (python -m encoder.prepare checks it); "drawn" are the faces that
the project draws itself. Twins are test faces that also stand in train, pixel for pixel; figures without them are given
beside the full ones. Logits are averaged over each face and its mirror image, or over ten crops (--views). With several
--weights the first is compared with the others on the same faces: differences with intervals, and how confusions moved.
--steady, --colour and --posed need no labels of emotions; --steady reads each face 22 times more. The report shows faces
of the data set: share it only as far as you may share them, or make it --without-faces."""


def build_parser() -> argparse.ArgumentParser:
    """The command line; imports nothing heavy."""
    parser = command_parser("python -m encoder.evaluate", __doc__, EXAMPLES)
    parser.add_argument("--data", required=True, help='folder with FER-2013, or "drawn"')
    parser.add_argument(
        "--weights", action="append", help="folder with the weights; again for each further model (default: pretrained/encoder)"
    )
    parser.add_argument("--split", choices=("train", "valid", "test"), default="test", help="default: %(default)s")
    parser.add_argument("--out", type=Path, help="folder for JSON and PNGs (default: out/evaluation-MODEL-SPLIT)")
    parser.add_argument("--report", type=Path, metavar="FOLDER", help="also write report.html, report.json and PNGs there")
    parser.add_argument("--ladder", type=Path, metavar="FILE", help="ladder.json of encoder.ladder: its table joins the report")
    parser.add_argument("--face", metavar="NAME", help="face whose activation maps the report shows (default: the surest)")
    parser.add_argument("--without-faces", action="store_true", help="leave the data set's faces out of the report: to share it")
    parser.add_argument("--steady", action="store_true", help="how often answers stay when faces are changed a little")
    parser.add_argument("--colour", type=Path, metavar="FOLDER", help="colour128: what is read by group; with --steady that too")
    parser.add_argument("--posed", type=Path, metavar="FILE", help="london.parquet: smiles and neutral faces, from detection on")
    parser.add_argument("--as-seeds", action="store_true", help="the --weights are trainings of one recipe: mean and deviation")
    parser.add_argument("--on-error", choices=("refuse", "skip"), default="refuse", help="what to do with broken rows")
    parser.add_argument("--views", choices=("plain", "mirror", "ten-crop"), default="mirror", help="default: %(default)s")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: %(default)s")
    parser.add_argument("--json", action="store_true", help="print the JSON instead of the tables (several models: a list)")
    add_overwrite(parser)
    return parser


def main(argv: Sequence[str]) -> int:
    """Evaluate and write the files; exit code 0."""
    arguments = build_parser().parse_args(argv)
    import json

    from encoder.analysis.beyond_labels import beyond_labels_lines
    from encoder.evaluation.assessment import draw_changes, draw_confusions, format_table
    from encoder.evaluation.comparison import comparison_lines, spread_lines, spread_of
    from encoder.evaluation.ladder_table import read_table
    from encoder.evaluation.report import EvaluatedModel, compare, evaluate_model, find_face, write_report
    from encoder.landmarks.assessment import assess_landmarks
    from encoder.landmarks.classifier import LandmarkClassifier, load_classifier
    from engine.devices import resolve_device
    from engine.storage.atomic import atomic_write_text, write_json
    from engine.storage.weights import resolve_folder

    if arguments.ladder is not None:
        if arguments.report is None:
            raise UserError("--ladder: its table goes into the report; say where that is written with --report FOLDER")
        read_table(arguments.ladder)
    given = arguments.weights or ["pretrained/encoder"]
    folders = [resolve_folder(name) for name in given]
    seeds = _seeds(given, folders) if arguments.as_seeds else []
    device = resolve_device(arguments.device)
    classifiers = [load_classifier(folder, device) for folder in folders]
    on_landmarks = [weights for weights, each in zip(given, classifiers, strict=True) if isinstance(each, LandmarkClassifier)]
    if on_landmarks and (arguments.report is not None or arguments.face is not None):
        raise UserError(
            f"{on_landmarks[0]}: a model on landmarks has no maps for the report to show; "
            "leave it out, or use --out for its figures"
        )
    if on_landmarks and (arguments.steady or arguments.colour or arguments.posed):
        raise UserError(f"{on_landmarks[0]}: --steady, --colour and --posed are for networks; leave a model on landmarks out")
    names = model_names(given)
    outs = _output_folders(arguments, names)
    beyond = _load_beyond(arguments)
    models: list[EvaluatedModel] = []
    figures: list[dict[str, Any]] = []
    loaded: dict[int, tuple[FaceSet, NDArray[np.bool_]]] = {}
    for name, weights, folder, classifier in zip(names, given, folders, classifiers, strict=True):
        size = classifier.size if isinstance(classifier, LandmarkClassifier) else classifier.preprocessing.size
        if size not in loaded:
            loaded[size] = _load(arguments, size)
        faces, twin = loaded[size]
        if isinstance(classifier, LandmarkClassifier):
            figures.append(assess_landmarks(classifier, faces, twin, folder, split=arguments.split, weights=weights))
            continue
        if arguments.face is not None:
            find_face(faces, arguments.face)
        how = {"split": arguments.split, "views": arguments.views}
        model = evaluate_model(name, weights, folder, classifier, faces, twin, **how)
        models.append(replace(model, figures={**model.figures, **beyond.measure(classifier)}))
        figures.append(dict(models[-1].figures))
    comparison = compare(models) if len(models) > 1 else {}
    spread = spread_of(figures, seeds) if arguments.as_seeds else None
    written = []
    for found, out in zip(figures, outs, strict=False):
        atomic_write_text(out / "evaluation.json", json.dumps(found, indent=2) + "\n")
        written += [out / "evaluation.json", *draw_confusions(found, out)]
        written += draw_changes(figures[0], found, out) if found is not figures[0] else []
    for name, content in (("comparison.json", comparison), ("spread.json", spread)):
        if content and outs:
            # Beside the figures of the last model where every model has a folder of its own.
            written.append((arguments.out or outs[-1]) / name)
            write_json(written[-1], content)
    if arguments.report is not None:
        command = shlex.join(["python", "-m", "encoder.evaluate", *argv])
        shown = {"face": arguments.face, "ladder": arguments.ladder, "show_faces": not arguments.without_faces}
        written += write_report(models, arguments.report, command=command, comparison=comparison, spread=spread, **shown)
    if arguments.json:
        print(json.dumps(figures if len(figures) > 1 else figures[0], indent=2))
    else:
        print("\n\n".join("\n".join([format_table(found), *beyond_labels_lines(found)]) for found in figures))
        for lines in (comparison_lines(comparison), [] if spread is None else spread_lines(spread)):
            print("\n".join(["", *lines]) if lines else "", end="\n" if lines else "")
        print(f"\nwritten: {', '.join(str(path) for path in written)}")
    for problem in faces.problems:
        print(f"skipped {problem}", file=sys.stderr)
    return 0


def _seeds(given: Sequence[str], folders: Sequence[Path]) -> list[int | None]:
    """The seed that each training noted beside its weights. Raises UserError: fewer than two, or some that are the same."""
    from encoder.inference.emotion_encoder import KIND
    from engine.storage.weights import read_config

    if len(folders) < 2:
        raise UserError("--as-seeds: needs several trainings; give --weights FOLDER for each")
    configs = [read_config(folder, KIND) for folder in folders]
    hashes = [config["sha256"] for config in configs]
    for number, each in enumerate(hashes):
        if each in hashes[:number]:
            raise UserError(f"--as-seeds: {given[number]} holds the same weights as {given[hashes.index(each)]}; leave one out")
    return [config.get("training", {}).get("config", {}).get("train", {}).get("seed") for config in configs]


def _load_beyond(arguments: argparse.Namespace) -> BeyondLabels:
    """The faces for what needs no labels, at the size at which they are stored."""
    from encoder.analysis.beyond_labels import load_beyond_labels
    from encoder.data.face_set import FER_SIZE
    from encoder.drawing.faces import load_or_draw

    steady = None
    if arguments.steady:
        faces = load_or_draw(arguments.data, arguments.split, 3500, size=FER_SIZE, on_error=arguments.on_error)
        steady = (faces, f"{faces.source} {arguments.split}")
    return load_beyond_labels(steady, arguments.colour, arguments.posed)


def _output_folders(arguments: argparse.Namespace, names: Sequence[str]) -> list[Path]:
    """Makes every folder that is written to, before any work; one for each model's JSON, or none with --report alone."""
    from engine.storage.atomic import make_folder, require_new

    outs = []
    if arguments.out is not None:
        outs = [arguments.out if len(names) == 1 else arguments.out / name for name in names]
    elif arguments.report is None:
        outs = [Path("out") / f"evaluation-{name}-{arguments.split}" for name in names]
    require_new([folder / "evaluation.json" for folder in outs], arguments.overwrite)
    require_new([arguments.report and arguments.report / "report.html"], arguments.overwrite, "--report")
    for folder in outs:
        make_folder(folder)
    if arguments.report is not None:
        make_folder(arguments.report, "--report")
    return outs


def model_names(given: Sequence[str]) -> list[str]:
    """A short name for each weights folder: its own, or its run's when it is called ``weights``; numbered when taken."""
    names: list[str] = []
    for weights in given:
        path = Path(weights)
        short = path.parent.name if path.name == "weights" and path.parent.name else path.name
        short = short if short not in ("", "..") else path.resolve().name
        taken = sum(name == short or name.rpartition("-")[0] == short for name in names)
        names.append(f"{short}-{taken + 1}" if taken else short)
    return names


def _load(arguments: argparse.Namespace, size: int) -> tuple[FaceSet, NDArray[np.bool_]]:
    """The N faces of the split, and (N,) which of them also stand in train."""
    import numpy as np

    from encoder.data.duplicates import twins
    from encoder.drawing.faces import load_or_draw

    faces = load_or_draw(arguments.data, arguments.split, 3500, size=size, on_error=arguments.on_error)
    if arguments.data == "drawn" or arguments.split == "train":
        return faces, np.zeros(len(faces), bool)
    return faces, twins(faces, load_or_draw(arguments.data, "train", 0, size=size, on_error=arguments.on_error))


cli = command(main)


if __name__ == "__main__":
    cli()
