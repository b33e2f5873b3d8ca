"""From an encoder and labelled faces to figures, a readable table and confusion matrices."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from encoder.calibration import calibrated_log_probabilities
from encoder.classifier import EmotionEncoder
from encoder.config import HeadCalibration
from encoder.datasets import FaceSet, twins
from encoder.emotions import EMOTION_NAMES, FERPLUS_NAMES
from encoder.fit import head_labels, mirrored_logits
from encoder.metrics import (
    accuracy,
    balanced_accuracy,
    confusion_matrix,
    expected_calibration_error,
    f1,
    macro_f1,
    negative_log_likelihood,
    precision,
    recall,
    wilson_interval,
)

HEAD_TITLES = {"fer2013": "FER-2013 labels, 7 classes", "ferplus": "FER+ majority, 8 classes (official protocol)"}


def score(labels: np.ndarray, probabilities: np.ndarray, names: tuple[str, ...]) -> dict[str, Any]:
    """All figures of one label scheme: (N,) classes against (N, C) probabilities."""
    table = confusion_matrix(labels, probabilities.argmax(axis=1), len(names))
    correct = int(np.trace(table))
    support, recalls = table.sum(axis=1), recall(table)
    per_class = {
        name: {
            "support": int(support[index]),
            "precision": round(float(precision(table)[index]), 4),
            "recall": None if support[index] == 0 else round(float(recalls[index]), 4),
            "recall_interval": [round(x, 4) for x in wilson_interval(int(table[index, index]), int(support[index]))],
            "f1": None if support[index] == 0 else round(float(f1(table)[index]), 4),
        }
        for index, name in enumerate(names)
    }
    return {
        "count": len(labels),
        "accuracy": round(accuracy(table), 4),
        "accuracy_interval": [round(x, 4) for x in wilson_interval(correct, len(labels))],
        "balanced_accuracy": round(balanced_accuracy(table), 4),
        "macro_f1": round(macro_f1(table), 4),
        "expected_calibration_error": round(expected_calibration_error(labels, probabilities), 4),
        "negative_log_likelihood": round(negative_log_likelihood(labels, probabilities), 4),
        "per_class": per_class,
        "confusion": table.tolist(),
        "classes": list(names),
    }


def assess(encoder: EmotionEncoder, faces: FaceSet, train: FaceSet | None, *, split: str, weights: str) -> dict[str, Any]:
    """Figures of every head on ``faces``, and again without those that have a pixel-identical twin in ``train``."""
    report: dict[str, Any] = {"weights": weights, "data": faces.source, "split": split, "test_time": "mirror average"}
    twin = twins(faces, train) if train is not None else np.zeros(len(faces), bool)
    report["twins_in_train"] = int(twin.sum())
    report["heads"] = {}
    for head, logits in mirrored_logits(encoder, faces).items():
        labels = head_labels(faces, head)
        known = labels >= 0
        if not known.any():
            continue
        probabilities = _probabilities(logits, encoder.calibration.heads.get(head, HeadCalibration()))
        names = FERPLUS_NAMES if head == "ferplus" else EMOTION_NAMES
        entry = {"all": score(labels[known], probabilities[known], names)}
        if twin.any():
            apart = known & ~twin
            entry["without_twins"] = score(labels[apart], probabilities[apart], names)
        report["heads"][head] = entry
    return report


def _probabilities(logits: np.ndarray, calibration: HeadCalibration) -> np.ndarray:
    import torch

    return calibrated_log_probabilities(torch.from_numpy(logits), calibration).exp().numpy()


def format_table(report: Mapping[str, Any]) -> str:
    """The report as lines for a terminal."""
    lines = [f"{report['weights']} on {report['data']} {report['split']} ({report['test_time']})"]
    for head, entry in report["heads"].items():
        for part, figures in entry.items():
            low, high = figures["accuracy_interval"]
            title = HEAD_TITLES[head] + (", without twins in train" if part == "without_twins" else "")
            lines += [
                "",
                f"{title}: {figures['count']} faces",
                f"  accuracy {figures['accuracy']:.3f} (95 % {low:.3f} to {high:.3f})   balanced accuracy "
                f"{figures['balanced_accuracy']:.3f}   macro F1 {figures['macro_f1']:.3f}   calibration error "
                f"{figures['expected_calibration_error']:.3f}",
            ]
            if part == "without_twins":
                continue
            lines.append(f"  {'class':<10} {'n':>5} {'precision':>9} {'recall':>7} {'95 %':>13} {'F1':>6}")
            for name, row in figures["per_class"].items():
                if row["support"] == 0:
                    continue
                low, high = row["recall_interval"]
                lines.append(
                    f"  {name:<10} {row['support']:>5} {row['precision']:>9.3f} {row['recall']:>7.3f} "
                    f"{low:>6.2f}-{high:<6.2f} {row['f1']:>6.3f}"
                )
    return "\n".join(lines)


def draw_confusions(report: Mapping[str, Any], folder: Path) -> list[Path]:
    """One PNG per head: rows true class, columns predicted, cells share of the row and count."""
    import io

    from encoder.atomic import atomic_write_bytes

    paths = []
    for head, entry in report["heads"].items():
        picture = _confusion_picture(np.array(entry["all"]["confusion"]), entry["all"]["classes"], HEAD_TITLES[head])
        buffer = io.BytesIO()
        picture.save(buffer, "PNG")
        path = folder / f"confusion-{head}.png"
        atomic_write_bytes(path, buffer.getvalue())
        paths.append(path)
    return paths


def _confusion_picture(table: np.ndarray, names: list[str], title: str):  # type: ignore[no-untyped-def]
    from PIL import Image, ImageDraw, ImageFont

    cell, left, top = 76, 110, 86
    size = len(names) * cell
    picture = Image.new("RGB", (left + size + 16, top + size + 30), "white")
    draw = ImageDraw.Draw(picture)
    font, small = ImageFont.load_default(15), ImageFont.load_default(12)
    draw.text((left, 12), title, fill="black", font=ImageFont.load_default(17))
    draw.text((left, 38), f"{table.sum()} faces; rows: true class, columns: predicted", fill="#555555", font=small)
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    for column, name in enumerate(names):
        draw.text((left + column * cell + cell / 2, top - 12), name, fill="black", font=small, anchor="mm")
    for row, name in enumerate(names):
        draw.text((left - 8, top + row * cell + cell / 2), name, fill="black", font=font, anchor="rm")
        for column in range(len(names)):
            share = float(shares[row, column])
            x, y = left + column * cell, top + row * cell
            depth = share**0.7
            colour = tuple(round(255 + depth * (end - 255)) for end in (23, 76, 138))
            draw.rectangle((x, y, x + cell - 2, y + cell - 2), fill=colour)
            ink = "white" if share > 0.4 else "black"
            draw.text((x + cell / 2, y + cell / 2 - 8), f"{share:.2f}", fill=ink, font=font, anchor="mm")
            draw.text((x + cell / 2, y + cell / 2 + 12), str(table[row, column]), fill=ink, font=small, anchor="mm")
    return picture
