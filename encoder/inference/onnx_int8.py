"""Eight-bit version of an exported encoder, and the proof that it reads faces as well as the original.

Post-training static quantisation by ONNX Runtime: weights per channel, activations by the ranges that a few hundred training
faces show (Jacob et al., 2018).
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from configs.cli import UserError
from encoder.data.face_set import FaceSet

CALIBRATION_FACES = 512
_OPERATORS = ["Conv", "Add", "Relu", "AveragePool", "Mul"]


def quantize(model: bytes, faces: npt.NDArray[Any], batch_size: int = 16) -> bytes:
    """An ONNX encoder with eight-bit weights and activations.

    Args:
        model: from :func:`encoder.inference.onnx_graph.to_onnx`.
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

    Raises UserError: there is none.
    """
    if not len(train):
        raise UserError(f"{train.source}: no training face to calibrate with")
    chosen = np.random.default_rng(seed).choice(len(train), min(CALIBRATION_FACES, len(train)), replace=False)
    return train.images[np.sort(chosen)]
