"""A trained encoder as an ONNX graph, and the check that it answers alike."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    from encoder.inference.calibrated_net import CalibratedNet


OPSET = 20
TOLERANCE = 1e-4


InputType = Literal["float32", "uint8"]


def _exportable(encoder: CalibratedNet, input_type: InputType, net: nn.Module | None = None) -> nn.Module:
    """The whole way from faces to (distribution, each head, embedding) as one module; ``net``: read by it instead."""
    import torch
    from torch import Tensor, nn

    from encoder.inference.preprocessing import normalise

    class FacesToEmotions(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = encoder.net if net is None else net

        def forward(self, faces: Tensor) -> tuple[Tensor, ...]:
            grey = faces.to(torch.float32) / 255.0 if input_type == "uint8" else faces
            output = self.net(normalise(grey, encoder.preprocessing))
            heads = [encoder.head_log_probabilities(output, name).exp() for name in encoder.net.config.heads]
            return (encoder.log_distribution(output).exp(), *heads, output.embedding)

    return FacesToEmotions().eval()


def to_onnx(encoder: CalibratedNet, input_type: InputType = "float32", *, source: str = "") -> bytes:
    """The encoder as a serialised ONNX model with a dynamic batch; ``source`` is noted in its metadata."""
    import torch

    size = encoder.preprocessing.size
    # Two faces: a batch of one would be taken for a constant.
    example = torch.zeros(2, 1, size, size, dtype=torch.uint8 if input_type == "uint8" else torch.float32)
    program: Any = torch.onnx.export(
        _exportable(encoder, input_type),
        (example,),
        input_names=["faces"],
        output_names=output_names(encoder),
        dynamic_shapes={"faces": {0: torch.export.Dim("batch")}},
        opset_version=OPSET,
        dynamo=True,
        verbose=False,
    )
    model = program.model_proto
    # The exporter notes the source lines of this machine at every node.
    for node in model.graph.node:
        del node.metadata_props[:]
    for value in (*model.graph.value_info, *model.graph.initializer, *model.graph.input, *model.graph.output):
        del value.metadata_props[:]
    return with_metadata(model.SerializeToString(), metadata(encoder, input_type, source))


def traced(encoder: CalibratedNet) -> bytes:
    """As :func:`to_onnx`, float32 and without notes, in a twentieth of its time: batch norms folded, for this machine's use.

    By PyTorch's earlier exporter, which follows one call of the network, and needs no package beside PyTorch.
    """
    import io
    import warnings

    import torch

    from encoder.inference.folded import folded

    size = encoder.preprocessing.size
    file: Any = io.BytesIO()
    with warnings.catch_warnings(), torch.inference_mode(False), torch.no_grad():
        # Of its age, and of settings that become constants.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _exportable(encoder, "float32", folded(encoder.net)),
            (torch.zeros(2, 1, size, size),),
            file,
            input_names=["faces"],
            output_names=output_names(encoder),
            dynamic_axes={"faces": {0: "batch"}},
            opset_version=OPSET,
            dynamo=False,
        )
    return file.getvalue()


def output_names(encoder: CalibratedNet) -> list[str]:
    """The graph's outputs, in their order."""
    return ["distribution", *encoder.net.config.heads, "embedding"]


def with_metadata(model: bytes, notes: Mapping[str, Any]) -> bytes:
    """The model with exactly these notes in its metadata; values that are not text are stored as JSON."""
    import onnx

    parsed = onnx.load_model_from_string(model)
    del parsed.metadata_props[:]
    for key, value in notes.items():
        parsed.metadata_props.add(key=key, value=value if isinstance(value, str) else json.dumps(value))
    return parsed.SerializeToString()


def metadata(encoder: CalibratedNet, input_type: InputType, source: str) -> dict[str, Any]:
    """What a user of the file must know."""
    from encoder.emotions import EMOTION_NAMES, FERPLUS_NAMES

    size = encoder.preprocessing.size
    names = {"fer2013": EMOTION_NAMES, "ferplus": FERPLUS_NAMES}
    levels = "0 to 255" if input_type == "uint8" else "in [0, 1]"
    return {
        "labels": list(EMOTION_NAMES),
        "heads": {head: list(names[head]) for head in encoder.net.config.heads},
        "answer": encoder.calibration.answer,
        "preprocessing": {
            "input": f"(N, 1, {size}, {size}) {input_type} {levels}",
            "size": size,
            "crop": "tight, square, the face fills the picture, no bars",
            "grey": "0.299 red + 0.587 green + 0.114 blue",
            "resize": "bilinear with antialiasing",
            "normalisation": "inside the model",
        },
        "architecture": encoder.net.config.model_dump(mode="json"),
        "source": source,
        "use": "Says what people tend to see in a face, not what somebody feels; not for judging people.",
    }


def open_session(model: bytes | str, threads: int = 0, *, steady: bool = True) -> Any:
    """An ONNX Runtime session on the CPU, its telemetry off.

    Args:
        threads: 0 takes as many as there are cores.
        steady: one shape again and again, and nothing else at work: memory is planned for it, and threads wait without rest
            (on two busy cores that doubled the time of a detector).
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.enable_mem_pattern = steady
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(steady)))
    options.log_severity_level = 3  # it warns of weights that graphs of other makers list twice
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def largest_gap(model: bytes, encoder: CalibratedNet, input_type: InputType, seed: int = 0) -> float:
    """Largest difference of any probability, or of any embedding entry, between ONNX Runtime and PyTorch.

    Over batches of 1, 2 and 33 faces: random noise, flat grey and drawn faces.
    """
    import numpy as np

    from encoder.inference.preprocessing import to_grey

    session = open_session(model)
    gaps = []
    for faces in _trial_faces(encoder.preprocessing.size, seed):
        given = faces if input_type == "uint8" else (faces / np.float32(255.0)).astype(np.float32)
        names = [output.name for output in session.get_outputs()]
        answers = dict(zip(names, session.run(None, {"faces": given}), strict=True))
        read = encoder.read(to_grey(given), len(given))
        wanted = {"distribution": read.distributions, **read.heads, "embedding": read.embeddings}
        gaps += [float(np.abs(answers[name] - value.numpy()).max()) for name, value in wanted.items()]
    # A gap that is no number must not be lost in a maximum.
    return float(np.max(gaps))


def _trial_faces(size: int, seed: int) -> list[np.ndarray]:
    import numpy as np

    from encoder.drawing.faces import draw_faces

    rng = np.random.default_rng(seed)
    noise = rng.integers(0, 256, (1, 1, size, size), dtype=np.uint8)
    flat = np.stack([np.full((1, size, size), level, np.uint8) for level in (0, 255)])
    return [noise, flat, draw_faces(33, seed=seed, size=size).images[:, None]]
