"""How much a lower precision changes the answers on labelled faces."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from configs.cli import UserError
from encoder.data.face_set import FaceSet, head_labels
from encoder.emotions import EMOTION_NAMES, FERPLUS_NAMES
from encoder.evaluation.readings import HeadReading, paired_difference
from encoder.inference.onnx_int8 import model_input

# Largest loss, as shares, that an eight-bit model may bring on the validation split.
ALLOWED_LOSS = {"accuracy": 0.01, "balanced_accuracy": 0.02}


def read_with_onnx(model: bytes, faces: FaceSet, input_type: str) -> dict[str, HeadReading]:
    """What an exported model says of labelled faces, per head that has labels here; faces without a label are left out."""
    from encoder.inference.onnx_graph import open_session

    session = open_session(model)
    heads = [output.name for output in session.get_outputs() if output.name not in ("distribution", "embedding")]
    given = model_input(faces.images, input_type)
    rows: dict[str, list[npt.NDArray[np.float64]]] = {head: [] for head in heads}
    for start in range(0, len(given), 16):
        for head, values in zip(heads, session.run(heads, {"faces": given[start : start + 16]}), strict=True):
            rows[head].append(values.astype(np.float64))
    readings = {}
    for head, values in rows.items():
        labels = head_labels(faces, head)
        if (labels >= 0).any():
            names = FERPLUS_NAMES if head == "ferplus" else EMOTION_NAMES
            readings[head] = HeadReading(labels, np.concatenate(values), names).at(labels >= 0)
    return readings


def compare_precisions(whole: bytes, small: bytes, valid: FaceSet, input_type: str) -> dict[str, Any]:
    """Figures of the small model minus those of the whole one on the same faces, per head, with paired 95 % intervals.

    Raises UserError: no face has a label that the model predicts.
    """
    first, second = (read_with_onnx(model, valid, input_type) for model in (whole, small))
    if not first:
        raise UserError(f"{valid.source}: no face of the valid split has a label that this network predicts")
    return {
        head: {"faces": len(reading.labels), "difference": paired_difference(second[head], reading)}
        for head, reading in first.items()
    }


def losses_too_large(comparison: Mapping[str, Any]) -> list[str]:
    """A phrase for each figure that falls by more than ``ALLOWED_LOSS``."""
    return [
        f"{head} {figure.replace('_', ' ')} {part['difference'][figure]['difference']:+.4f} (allowed -{allowed})"
        for head, part in comparison.items()
        for figure, allowed in ALLOWED_LOSS.items()
        if not part["difference"][figure]["difference"] >= -allowed
    ]
