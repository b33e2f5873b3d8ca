"""Judge a gender classifier on a split of faces128 that shares nobody with its training: table and ``gender.json``."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.cli import run

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from encoder.attributes import GenderModel
    from encoder.face_set import FaceSet

EXAMPLES = """examples:
  python -m encoder.evaluate_gender --data DATA                                  the shipped classifier, test split
  python -m encoder.evaluate_gender --data DATA --weights runs/gender/weights --split valid
  python -m encoder.evaluate_gender --data DATA --weights deepface               DeepFace's, downloaded at first use

DATA is the folder that holds faces.parquet of faces128. Every face is judged twice: as it is, and cut to its central
80 %, which is about as tight as FER-2013. DeepFace's network may have seen the people of faces128."""


def build_parser() -> argparse.ArgumentParser:
    """The command line; imports nothing heavy."""
    parser = argparse.ArgumentParser(
        prog="python -m encoder.evaluate_gender",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", required=True, help="folder that holds faces.parquet")
    parser.add_argument("--weights", default="pretrained/gender", help="a folder, or deepface (default: %(default)s)")
    parser.add_argument("--split", choices=("train", "valid", "test"), default="test", help="default: %(default)s")
    parser.add_argument("--split-seed", type=int, default=0, help="data.split_seed of the training (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="folder for gender.json (default: out/evaluation-gender-SPLIT)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    return parser


def main(argv: Sequence[str]) -> int:
    """Evaluate, print the table and write the file; exit code 0."""
    arguments = build_parser().parse_args(argv)
    from encoder.attributes import create_gender
    from encoder.gender_fit import load_gendered
    from engine.storage.atomic import write_json

    model = create_gender(arguments.weights, device=arguments.device)
    path = Path(arguments.data).expanduser()
    faces = load_gendered(path, arguments.split, seed=arguments.split_seed, size=128)
    report = {"weights": arguments.weights, "split": arguments.split, "split_seed": arguments.split_seed}
    report |= assess_gender(model, faces)
    out = arguments.out or Path("out") / f"evaluation-gender-{arguments.split}"
    write_json(out / "gender.json", report)
    print(format_table(report))
    print(f"\nwritten: {out / 'gender.json'}")
    return 0


def assess_gender(model: GenderModel, faces: FaceSet) -> dict[str, Any]:
    """Figures on ``faces`` as they are (``whole``) and on their central 80 % (``tight``).

    Each is what ``assessment.score`` gives, with :func:`accuracy_by_person` beside it.
    """
    import numpy as np

    from encoder.assessment import score
    from encoder.attributes import GENDERS
    from encoder.gender_fit import count_people, gender_labels, tight_crop

    labels = gender_labels(faces)
    report: dict[str, Any] = {"data": faces.source, "count": len(faces), "people": count_people(faces)}
    for name, images in (("whole", faces.images), ("tight", tight_crop(faces.images))):
        probabilities = model.predict(images).astype("float64")
        report[name] = score(labels, probabilities, GENDERS)
        report[name] |= accuracy_by_person(probabilities.argmax(axis=1) == labels, np.asarray(faces.identities))
    return report


def accuracy_by_person(correct: ArrayLike, identities: ArrayLike, draws: int = 2000) -> dict[str, Any]:
    """What photographs of one person, which are right or wrong together, do to the figures.

    Args:
        correct: (N,) bool, by face.
        identities: (N,) names.
        draws: resamplings of the people, with replacement and a fixed seed.

    Returns:
        ``accuracy_of_people``, where each person counts once however many photographs there are, and
        ``accuracy_interval_by_person`` of the accuracy by face: 95 % of what other people would have given (percentile
        bootstrap over people), wider than Wilson's where errors pile up on a few.
    """
    import numpy as np

    _, person = np.unique(np.asarray(identities, str), return_inverse=True)
    total = np.bincount(person)
    right = np.bincount(person, weights=np.asarray(correct, float))
    drawn = np.random.default_rng(0).integers(0, len(total), (draws, len(total)))
    low, high = np.percentile(right[drawn].sum(axis=1) / total[drawn].sum(axis=1), (2.5, 97.5))
    return {
        "accuracy_of_people": round(float((right / total).mean()), 4),
        "accuracy_interval_by_person": [round(float(low), 4), round(float(high), 4)],
    }


def format_table(report: Mapping[str, Any]) -> str:
    """The report as lines for a terminal."""
    lines = [
        f"{report['weights']} on {report['data']} {report['split']} (people divided with seed {report['split_seed']}): "
        f"{report['count']} faces of {report['people']} people"
    ]
    for part in ("whole", "tight"):
        figures = report[part]
        low, high = figures["accuracy_interval"]
        lines.append(
            f"  {part:<6} accuracy {figures['accuracy']:.3f} (95 % {low:.3f} to {high:.3f})   balanced accuracy "
            f"{figures['balanced_accuracy']:.3f}   calibration error {figures['expected_calibration_error']:.3f}"
        )
        low, high = figures["accuracy_interval_by_person"]
        lines.append(
            f"         drawing other people: {low:.3f} to {high:.3f}   each person once: {figures['accuracy_of_people']:.3f}"
        )
        for name, row in figures["per_class"].items():
            low, high = row["recall_interval"]
            lines.append(f"         {name:<7} recall {row['recall']:.3f} (95 % {low:.3f} to {high:.3f}, n = {row['support']})")
    return "\n".join(lines)


def cli() -> None:
    """Entry point."""
    run(main)


if __name__ == "__main__":
    cli()
