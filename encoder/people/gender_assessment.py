"""How often the gender network agrees with what was recorded, by person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from encoder.data.face_set import FaceSet
from encoder.evaluation.assessment import score
from encoder.people.gender import GENDERS, GenderModel
from encoder.people.gender_data import count_people, gender_labels, tight_crop


def assess_gender(model: GenderModel, faces: FaceSet) -> dict[str, Any]:
    """Figures on ``faces`` as they are (``whole``) and on their central 80 % (``tight``).

    Each is what ``assessment.score`` gives, with :func:`accuracy_by_person` beside it.
    """
    labels = gender_labels(faces)
    report: dict[str, Any] = {"data": faces.source, "count": len(faces), "people": count_people(faces)}
    for name, images in (("whole", faces.images), ("tight", tight_crop(faces.images))):
        probabilities = model.predict(images).astype("float64")
        report[name] = score(labels, probabilities, GENDERS)
        report[name] |= accuracy_by_person(probabilities.argmax(axis=1) == labels, np.asarray(faces.identities))
    return report


def accuracy_by_person(correct: ArrayLike, identities: ArrayLike, draws: int = 2000) -> dict[str, Any]:
    """What photographs of one person, which are right or wrong together, do to the figures; ``correct`` is (N,) bool, by
    face.

    ``accuracy_of_people`` counts each person once, however many photographs there are. ``accuracy_interval_by_person`` of the
    accuracy by face is 95 % of what other people would have given (percentile bootstrap over people, ``draws`` of a fixed
    seed): wider than Wilson's where errors pile up on a few.
    """
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
