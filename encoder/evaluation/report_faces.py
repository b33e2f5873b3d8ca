"""Faces for the evaluation report: which ones are shown, and the pictures and votes that are shown of them.

Choice never depends on the order of the faces: it goes by confidence, equal ones by name.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from encoder.data.face_set import FaceSet
from encoder.data.ferplus import VOTE_COLUMNS
from encoder.emotions import EMOTION_NAMES, FERPLUS_NAMES, NUM_EMOTIONS
from encoder.evaluation.metrics import wilson_interval
from encoder.evaluation.readings import HeadReading
from encoder.inference.emotion_encoder import EmotionEncoder
from encoder.inference.explain import activation_maps, grad_cam, heat_colours, heat_overlay
from encoder.pictures.face_images import png_bytes

# Pairs that people confuse too, shown whatever their counts; the most confused ones come on top of them.
NAMED_PAIRS = (("fear", "surprise"), ("fear", "sadness"), ("anger", "sadness"), ("anger", "disgust"), ("sadness", "disgust"))
OVERLAY_SIZE = 112


def data_uri(picture: npt.NDArray[np.uint8]) -> str:
    """A (H, W) or (H, W, 3) picture as a ``data:`` address that holds a lossless PNG."""
    return "data:image/png;base64," + base64.b64encode(png_bytes(picture)).decode()


def enlarged(face: npt.NDArray[np.uint8], size: int = OVERLAY_SIZE) -> npt.NDArray[np.uint8]:
    """A (S, S) grey face resized smoothly to (size, size)."""
    from PIL import Image

    return np.asarray(Image.fromarray(face).resize((size, size), Image.Resampling.BICUBIC))


def ranked(candidates: npt.ArrayLike, confidence: npt.NDArray[np.floating], ids: Sequence[str]) -> list[int]:
    """The candidates by falling confidence, rounded so that the last bits of a sum decide nothing; then by name."""
    return sorted(np.asarray(candidates).tolist(), key=lambda index: (-round(float(confidence[index]), 5), ids[index]))


def describe_face(faces: FaceSet, index: int) -> dict[str, Any]:
    """What the page says of one face: picture, name, both labels where known, and the votes as cast, most first."""
    votes = []
    if faces.vote_counts is not None:
        counts = faces.vote_counts[index]
        total = max(int(counts.sum()), 1)
        given = sorted((-int(n), name) for name, n in zip(VOTE_COLUMNS, counts, strict=True) if n)
        votes = [{"name": name, "count": -n, "share": -n / total} for n, name in given]
    label, majority = int(faces.labels[index]), int(faces.subset([index]).majority()[0])
    return {
        "id": faces.ids[index],
        "image": data_uri(faces.images[index]),
        "label": EMOTION_NAMES[label] if label >= 0 else None,
        "majority": FERPLUS_NAMES[majority] if majority >= 0 else None,
        "votes": votes,
    }


def confused_pairs(confusion: npt.NDArray[np.int64], names: Sequence[str], top: int = 3) -> list[dict[str, Any]]:
    """Counts of the named pairs and of the ``top`` most confused others, both directions, most errors first."""
    support = np.maximum(confusion.sum(axis=1), 1)
    named = {tuple(sorted((names.index(a), names.index(b)))) for a, b in NAMED_PAIRS}
    pairs = [(a, b) for a in range(len(names)) for b in range(a + 1, len(names))]
    others = sorted((pair for pair in pairs if pair not in named), key=lambda p: (-int(confusion[p] + confusion[p[::-1]]), p))
    chosen = sorted([*named, *others[:top]], key=lambda p: (-int(confusion[p] + confusion[p[::-1]]), p))
    return [
        {
            "pair": [names[a], names[b]],
            "errors": int(confusion[a, b] + confusion[b, a]),
            "directions": [
                {
                    "true": names[t],
                    "predicted": names[p],
                    "count": int(confusion[t, p]),
                    "share": float(confusion[t, p] / support[t]),
                }
                for t, p in ((a, b), (b, a))
            ],
        }
        for a, b in chosen
    ]


def pair_examples(faces: FaceSet, reading: HeadReading, true: str, predicted: str, count: int = 5) -> list[dict[str, Any]]:
    """The faces most confidently given ``predicted`` that are labelled ``true``."""
    t, p = reading.names.index(true), reading.names.index(predicted)
    top = reading.probabilities.argmax(axis=1)
    confidence = reading.probabilities.max(axis=1)
    found = ranked(np.flatnonzero((reading.labels == t) & (top == p)), confidence, faces.ids)[:count]
    return [{**describe_face(faces, index), "probability": float(confidence[index])} for index in found]


def confident_mistakes(
    encoder: EmotionEncoder, faces: FaceSet, reading: HeadReading, count: int = 12
) -> tuple[list[dict[str, Any]], npt.NDArray[np.uint8] | None]:
    """The surest wrong answers, each with the heat for what was read and for what was labelled.

    Returns:
        entries for the page, and one picture of all of them: face, heat for the answer, heat for the label, row by row
        (None without mistakes).
    """
    top, confidence = reading.probabilities.argmax(axis=1), reading.probabilities.max(axis=1)
    wrong = ranked(np.flatnonzero((reading.labels >= 0) & (top != reading.labels)), confidence, faces.ids)[:count]
    entries, rows = [], []
    for index in wrong:
        face = enlarged(faces.images[index])
        overlays = []
        for emotion in (int(top[index]), int(reading.labels[index])):
            # Contempt has no place among the seven emotions of the answer that is explained.
            heat = grad_cam(encoder, faces.images[index][None], [emotion])[0] if emotion < NUM_EMOTIONS else None
            overlays.append(None if heat is None else heat_overlay(face, heat))
        entries.append(
            {
                **describe_face(faces, index),
                "true": reading.names[reading.labels[index]],
                "predicted": reading.names[top[index]],
                "probability": float(confidence[index]),
                "probability_of_label": float(reading.probabilities[index, reading.labels[index]]),
                "heat_predicted": None if overlays[0] is None else data_uri(overlays[0]),
                "heat_true": None if overlays[1] is None else data_uri(overlays[1]),
            }
        )
        grey = np.repeat(face[..., None], 3, axis=2)
        rows.append(np.concatenate([grey, *(grey if overlay is None else overlay for overlay in overlays)], axis=1))
    return entries, np.concatenate(rows) if rows else None


def surest_hit(faces: FaceSet, reading: HeadReading) -> int:
    """The face that is read right with the highest probability; the surest of all where none is right."""
    top, confidence = reading.probabilities.argmax(axis=1), reading.probabilities.max(axis=1)
    right = np.flatnonzero((reading.labels >= 0) & (top == reading.labels))
    return ranked(right if len(right) else np.arange(len(faces)), confidence, faces.ids)[0]


def explain_face(
    encoder: EmotionEncoder, faces: FaceSet, index: int, channels: int = 12
) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Heat for each of the seven emotions, and each stage's strongest maps, of one face.

    Returns:
        the entry for the page, and per stage one picture (h, k * w, 3) of its maps side by side.
    """
    image = faces.images[index][None]
    answer = encoder.predict(image).distributions[0].numpy()
    face = enlarged(faces.images[index])
    heats = grad_cam(encoder, np.repeat(image, NUM_EMOTIONS, axis=0), range(NUM_EMOTIONS))
    emotions = [
        {"name": name, "probability": float(answer[k]), "image": data_uri(heat_overlay(face, heats[k]))}
        for k, name in enumerate(EMOTION_NAMES)
    ]
    stages, strips = [], []
    for number, maps in enumerate(activation_maps(encoder, image)):
        if maps.ndim != 4:
            continue
        strength = np.abs(maps[0]).mean(axis=(1, 2))
        strongest = np.argsort(-strength, kind="stable")[:channels]
        pictures = [heat_colours(_stretched(maps[0, channel])) for channel in strongest]
        strips.append(np.concatenate(pictures, axis=1))
        shown = [
            {"channel": int(channel), "image": data_uri(picture)} for channel, picture in zip(strongest, pictures, strict=True)
        ]
        stages.append({"stage": number + 1, "channels": maps.shape[1], "size": list(maps.shape[2:]), "maps": shown})
    return {**describe_face(faces, index), "emotions": emotions, "stages": stages}, strips


def _stretched(plane: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    low, high = float(plane.min()), float(plane.max())
    return (plane - low) / (high - low) if high > low else np.zeros_like(plane)


def label_noise(faces: FaceSet, examples: int = 6, cells: int = 5) -> dict[str, Any] | None:
    """Where FER-2013 labels and the majority of FER+ annotators disagree; None without both for any face.

    Returns:
        ``counts`` (7 by 8: rows FER-2013, columns FER+), ``agreement``, per-class shares, and the ``cells`` most frequent
        disagreements with the faces on which most annotators agree against the label.
    """
    majority = faces.majority().astype(int)
    both = np.flatnonzero((faces.labels >= 0) & (majority >= 0))
    if not len(both):
        return None
    counts = np.zeros((NUM_EMOTIONS, len(FERPLUS_NAMES)), np.int64)
    np.add.at(counts, (faces.labels[both], majority[both]), 1)
    agree = int(np.trace(counts[:, :NUM_EMOTIONS]))
    cast = counts.sum(axis=1)
    off = sorted(
        (-int(counts[r, c]), r, c) for r in range(NUM_EMOTIONS) for c in range(len(FERPLUS_NAMES)) if r != c and counts[r, c]
    )[:cells]
    shown = []
    for negative, r, c in off:
        here = np.flatnonzero((faces.labels == r) & (majority == c))
        picked = ranked(here, faces.votes[:, c], faces.ids)[:examples]
        group = {"label": EMOTION_NAMES[r], "majority": FERPLUS_NAMES[c], "count": -negative, "share": -negative / int(cast[r])}
        shown.append({**group, "faces": [describe_face(faces, index) for index in picked]})
    return {
        "faces": len(both),
        "without_majority": int(((faces.labels >= 0) & (majority < 0)).sum()),
        "agreement": agree / len(both),
        "agreement_interval": list(wilson_interval(agree, len(both))),
        "per_class": {n: float(counts[k, k] / cast[k]) if cast[k] else None for k, n in enumerate(EMOTION_NAMES)},
        "rows": list(EMOTION_NAMES),
        "columns": list(FERPLUS_NAMES),
        "counts": counts.tolist(),
        "groups": shown,
    }


def without_pictures(entry: Any) -> Any:
    """The same entry for JSON: everything but the pictures."""
    if isinstance(entry, Mapping):
        pictures = ("image", "heat_predicted", "heat_true")
        return {name: without_pictures(value) for name, value in entry.items() if name not in pictures}
    if isinstance(entry, list):
        return [without_pictures(value) for value in entry]
    return entry
