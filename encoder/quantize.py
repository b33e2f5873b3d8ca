"""Eight-bit version of an exported encoder, and the proof that it reads faces as well as the original.

Post-training static quantisation by ONNX Runtime: weights per channel, activations by the ranges that a few hundred training
faces show (Jacob et al., 2018).
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from configs.cli import UserError
from encoder.assessment import HeadReading
from encoder.emotions import EMOTION_NAMES, FERPLUS_NAMES
from encoder.face_set import FaceSet
from encoder.fit import head_labels

CALIBRATION_FACES = 512
# Largest loss, as shares, that an eight-bit model may bring on the validation split.
ALLOWED_LOSS = {"accuracy": 0.01, "balanced_accuracy": 0.02}
_OPERATORS = ["Conv", "Add", "Relu", "AveragePool", "Mul"]


def quantize(model: bytes, faces: npt.NDArray[Any], batch_size: int = 16) -> bytes:
    """An ONNX encoder with eight-bit weights and activations.

    Args:
        model: from :func:`encoder.export.to_onnx`.
        faces: (N, 1, S, S) as the model takes them, typical ones: activations beyond theirs are clipped.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self._chunks: Iterator[npt.NDArray[Any]] = iter(np.array_split(faces, -(-len(faces) // batch_size)))

        def get_next(self) -> dict[str, npt.NDArray[Any]] | None:
            chunk = next(self._chunks, None)
            return None if chunk is None else {"faces": chunk}

    with tempfile.TemporaryDirectory() as folder:
        whole, small = Path(folder) / "float32.onnx", Path(folder) / "int8.onnx"
        whole.write_bytes(model)
        quant_pre_process(whole, whole, skip_symbolic_shape=True)
        quantize_static(
            whole,
            small,
            Reader(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=_OPERATORS,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
        )
        return small.read_bytes()


def model_input(images: npt.NDArray[np.uint8], input_type: str) -> npt.NDArray[Any]:
    """(N, S, S) uint8 faces as an exported model takes them: (N, 1, S, S) uint8, or float32 in [0, 1]."""
    faces = images[:, None]
    return faces if input_type == "uint8" else (faces / np.float32(255.0)).astype(np.float32)


def calibration_faces(train: FaceSet, seed: int = 0) -> npt.NDArray[np.uint8]:
    """(N, S, S) training faces to calibrate with, drawn without replacement; all where there are few.

    Raises:
        UserError: there is none.
    """
    if not len(train):
        raise UserError(f"{train.source}: no training face to calibrate with")
    chosen = np.random.default_rng(seed).choice(len(train), min(CALIBRATION_FACES, len(train)), replace=False)
    return train.images[np.sort(chosen)]


def read_with_onnx(model: bytes, faces: FaceSet, input_type: str) -> dict[str, HeadReading]:
    """What an exported model says of labelled faces, per head that has labels here; faces without a label are left out."""
    from encoder.export import open_session

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

    Raises:
        UserError: no face has a label that the model predicts.
    """
    from encoder.report import paired_difference

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
