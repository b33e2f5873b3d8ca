"""The evaluation report: one HTML page that needs nothing else, the same figures as JSON, and its pictures as PNG."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from configs.cli import UserError
from encoder.data.face_set import FaceSet
from encoder.emotions import EMOTION_NAMES
from encoder.evaluation import charts, conclusions, report_faces
from encoder.evaluation.assessment import assess_readings, draw_changes, draw_confusions
from encoder.evaluation.comparison import compare_readings
from encoder.evaluation.groups import gap_sentence
from encoder.evaluation.ladder_table import as_html, read_table
from encoder.evaluation.learning_curves import read_curves
from encoder.evaluation.metrics import reliability_bins
from encoder.evaluation.page import render
from encoder.evaluation.readings import BOOTSTRAP, HEAD_TITLES, HeadReading, in_order, read_heads
from encoder.evaluation.steadiness import TITLES
from encoder.inference.emotion_encoder import EmotionEncoder
from encoder.inference.views import Views
from encoder.pictures.face_images import png_bytes
from engine.storage.atomic import atomic_write_bytes, atomic_write_text

HEADLINE_TITLES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "expected_calibration_error": "calibration error",
    "negative_log_likelihood": "log loss",
}


@dataclass(frozen=True)
class EvaluatedModel:
    """One model and what it made of the faces.

    Attributes:
        name: short name for tables; no other model of the report has it.
        weights: the folder as it was given.
        folder: where that is.
        faces: the N faces at the size of this model's input, in the order of their names.
        twin: (N,) those that also stand in train.
        readings: from :func:`encoder.evaluation.readings.read_heads`.
        figures: from :func:`encoder.evaluation.assessment.assess_readings`, with what was measured without labels beside it.
    """

    name: str
    weights: str
    folder: Path
    encoder: EmotionEncoder
    faces: FaceSet
    twin: npt.NDArray[np.bool_]
    readings: Mapping[str, HeadReading]
    figures: Mapping[str, Any]


def evaluate_model(
    name: str,
    weights: str,
    folder: Path,
    encoder: EmotionEncoder,
    faces: FaceSet,
    twin: npt.NDArray[np.bool_],
    *,
    split: str,
    views: Views = "mirror",
) -> EvaluatedModel:
    """Let ``encoder`` read the faces, in whatever order they come; ``twin`` (N,) goes with them. Raises UserError: no head
    has a label here.
    """
    order = in_order(faces)
    faces, twin = faces.subset(order), twin[order]
    readings = read_heads(encoder, faces, views)
    figures = assess_readings(readings, twin, data=faces.source, split=split, weights=weights, views=views)
    return EvaluatedModel(name, weights, folder, encoder, faces, twin, readings, figures)


def find_face(faces: FaceSet, name: str) -> int:
    """Index of the face called ``name``. Raises UserError: there is none."""
    if name not in faces.ids:
        raise UserError(f"--face {name}: no such face; names of this split are like {faces.ids[0] if len(faces) else '(none)'}")
    return faces.ids.index(name)


def write_report(
    models: Sequence[EvaluatedModel],
    out: Path,
    *,
    command: str,
    face: str | None = None,
    ladder: Path | None = None,
    show_faces: bool = True,
    comparison: Mapping[str, Any] | None = None,
    spread: Mapping[str, Any] | None = None,
) -> list[Path]:
    """Write ``report.html``, ``report.json`` and the PNGs into ``out``.

    Args:
        models: at least one; the others are compared with the first.
        command: how the report is made again; shown on the page.
        face: name of the face whose activation maps are shown; None: the one each model is surest of and right about.
        show_faces: False leaves out every picture of a face of the data set, and what only makes sense with one.
        comparison: what :func:`compare` gives for ``models``; None: it is made here.
        spread: what :func:`encoder.evaluation.comparison.spread_of` gives, where the models are trainings of one recipe.
        ladder: ``ladder.json`` of ``encoder.ladder``, whose table becomes a section of the page; None: no such section.

    Returns:
        the files written, the page first.

    Raises:
        UserError: no face of that name, the models did not read the same faces, no such table, or a file cannot be written.
    """
    first = models[0]
    rungs, section = None, None
    if ladder is not None:
        rows, made_with = read_table(ladder)
        rungs = {"rows": rows, "command": made_with}
        section = Markup(as_html(rows, made_with))  # noqa: S704  as_html escapes what it is given
    if face is not None:
        find_face(first.faces, face)
    compared = compare(models) if comparison is None else comparison
    out.mkdir(parents=True, exist_ok=True)
    details, pictures = [], list[Path]()
    for model in models:
        folder = out if len(models) == 1 else out / model.name
        folder.mkdir(exist_ok=True)
        detail, drawn = _detail(model, face)
        details.append(detail)
        pictures += draw_confusions(model.figures, folder)
        pictures += draw_changes(first.figures, model.figures, folder) if model is not first else []
        for name, picture in drawn.items() if show_faces else ():
            atomic_write_bytes(folder / name, png_bytes(picture))
            pictures.append(folder / name)
    noise = report_faces.label_noise(first.faces)
    if noise is not None:
        noise["models"] = {model.name: _where_labels_agree(model) for model in models}
    content = {
        "command": command,
        "show_faces": show_faces,
        "data": first.faces.source,
        "split": first.figures["split"],
        "test_time": first.figures["test_time"],
        "faces": len(first.faces),
        "twins_in_train": int(first.twin.sum()),
        "bootstrap": BOOTSTRAP,
        "comparison": compared,
        "spread": spread,
        "models": details,
        "label_noise": noise,
        "ladder": rungs,
    }
    page, figures = out / "report.html", out / "report.json"
    titles = {"charts": charts, "headline_titles": HEADLINE_TITLES, "head_titles": HEAD_TITLES, "ladder_section": section}
    titles |= {"said": conclusions, "steady_titles": TITLES, "gap_sentence": gap_sentence, "emotions": EMOTION_NAMES}
    atomic_write_text(page, render("report.html", **content, **titles))
    atomic_write_text(figures, json.dumps(report_faces.without_pictures(content), indent=2, allow_nan=False) + "\n")
    return [page, figures, *pictures]


def _detail(model: EvaluatedModel, face: str | None) -> tuple[dict[str, Any], dict[str, npt.NDArray[np.uint8]]]:
    """Everything the page says of one model, and the pictures written beside the page."""
    heads = {}
    for head, reading in model.readings.items():
        figures = model.figures["heads"][head]
        confusion = np.array(figures["all"]["confusion"])
        pairs = report_faces.confused_pairs(confusion, reading.names)
        for pair in pairs:
            for way in pair["directions"]:
                way["faces"] = report_faces.pair_examples(model.faces, reading, way["true"], way["predicted"])
        heads[head] = {"title": HEAD_TITLES[head], **figures, "pairs": pairs, "reliability": _reliability(reading)}
    answer = model.encoder.calibration.answer
    shown = answer if answer in model.readings else next(iter(model.readings))
    reading = model.readings[shown]
    mistakes, sheet = report_faces.confident_mistakes(model.encoder, model.faces, reading)
    index = report_faces.surest_hit(model.faces, reading) if face is None else find_face(model.faces, face)
    chosen, strips = report_faces.explain_face(model.encoder, model.faces, index)
    pictures = {f"activations-stage{number + 1}.png": strip for number, strip in enumerate(strips)}
    if sheet is not None:
        pictures["mistakes.png"] = sheet
    parameters = sum(p.numel() for p in model.encoder.net.parameters())
    config = model.encoder.net.config.model_dump(mode="json")
    detail = {
        "name": model.name,
        "weights": model.weights,
        "architecture": config["name"],
        "parameters": parameters,
        "preprocessing": model.encoder.preprocessing.model_dump(mode="json"),
        "answer": answer,
        "heads": heads,
        "mistakes": {"head": shown, "title": HEAD_TITLES[shown], "faces": mistakes},
        "face": {**chosen, "asked": face is not None},
        "curves": read_curves(model.folder),
        **{name: model.figures.get(name) for name in ("steadiness", "groups", "photographs")},
    }
    return detail, pictures


def _reliability(reading: HeadReading) -> dict[str, list[float | None]]:
    known = reading.at(reading.labels >= 0)
    correct = known.probabilities.argmax(axis=1) == known.labels
    bins = reliability_bins(known.probabilities.max(axis=1), correct)
    columns = {"confidence": bins.confidence, "accuracy": bins.accuracy}
    rounded = {name: [None if np.isnan(x) else round(float(x), 4) for x in column] for name, column in columns.items()}
    return {"counts": [int(count) for count in bins.counts], **rounded}


def _where_labels_agree(model: EvaluatedModel) -> dict[str, Any]:
    """Accuracy of each head on the faces on which both label sets agree, and on those where they do not."""
    labels, majority = model.faces.labels.astype(int), model.faces.majority().astype(int)
    both = (labels >= 0) & (majority >= 0)
    parts = {"agree": both & (labels == majority), "disagree": both & (labels != majority)}
    return {
        head: {
            name: float((reading.probabilities.argmax(axis=1) == reading.labels)[part].mean()) if part.any() else None
            for name, part in parts.items()
        }
        for head, reading in model.readings.items()
    }


def compare(models: Sequence[EvaluatedModel]) -> dict[str, Any]:
    """Each model against the first, see :func:`encoder.evaluation.comparison.compare_readings`; empty for one model.

    Raises UserError: the models did not read the same faces.
    """
    first = models[0]
    for other in models[1:]:
        if other.faces.ids != first.faces.ids or not np.array_equal(other.faces.labels, first.faces.labels):
            raise UserError(f"{other.weights}: did not read the same faces as {first.weights}, so they cannot be compared")
    return compare_readings(first.readings, {model.name: model.readings for model in models[1:]}, first.name)
