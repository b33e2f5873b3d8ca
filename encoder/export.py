"""Write an encoder as one ONNX file that takes grey faces and answers with calibrated probabilities."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from configs.cli import UserError, run

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    from encoder.classifier import EmotionEncoder
    from encoder.face_set import FaceSet

EXAMPLES = """examples:
  python -m encoder.export --out encoder.onnx
  python -m encoder.export --weights runs/encoder/weights --out encoder.onnx --input uint8
  python -m encoder.export --precision int8 --data DATA --out encoder-int8.onnx

The graph holds everything from grey levels to probabilities: normalisation, network, prior correction, temperature and
the fold to seven emotions. Input "faces" is (N, 1, S, S), any N: floats in [0, 1], or uint8 with --input uint8; S, the
order of the labels and how to make a face grey stand in the file's metadata. Outputs: "distribution" (N, 7), each head's
probabilities under its own name, "embedding" (N, D). Before the file is written, ONNX Runtime must give the same answers as
PyTorch to 1e-4. Needs the extra onnx: pip install 'mimique[onnx]'.

int8 takes a quarter of the space and, on processors that multiply bytes in hardware, a third of the time. Its ranges come
from 512 training faces of --data; then both versions read the valid split, the differences are shown and noted in the file's
metadata, and nothing is written when accuracy falls by more than a point or balanced accuracy by more than two."""

OPSET = 20
TOLERANCE = 1e-4
InputType = Literal["float32", "uint8"]


def build_parser() -> argparse.ArgumentParser:
    """The command line; imports nothing heavy."""
    parser = argparse.ArgumentParser(
        prog="python -m encoder.export",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--weights", default="pretrained/encoder", help="folder with the weights (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("encoder.onnx"), help="file to write (default: %(default)s)")
    parser.add_argument(
        "--input", choices=("float32", "uint8"), default="float32", help="type of the faces (default: %(default)s)"
    )
    parser.add_argument("--precision", choices=("float32", "int8"), default="float32", help="default: %(default)s")
    parser.add_argument("--data", help='int8: folder with FER-2013, or "drawn", to calibrate with and to compare on')
    return parser


def main(argv: Sequence[str]) -> int:
    """Export, compare and write; exit code 0."""
    arguments = build_parser().parse_args(argv)
    if not arguments.out.parent.is_dir():
        raise UserError(f"--out {arguments.out}: there is no folder {arguments.out.parent}; make it first")
    if (arguments.precision == "int8") != (arguments.data is not None):
        raise UserError("--precision int8 and --data belong together: say which faces to calibrate with and to compare on")
    _require_packages()
    from encoder.classifier import EmotionEncoder
    from engine.storage.atomic import atomic_write_bytes
    from engine.storage.weights import resolve_folder

    encoder = EmotionEncoder.from_pretrained(resolve_folder(arguments.weights))
    model = to_onnx(encoder, arguments.input, source=arguments.weights)
    gap = largest_gap(model, encoder, arguments.input)
    if not gap <= TOLERANCE:
        raise UserError(f"{arguments.weights}: ONNX Runtime's answers differ from PyTorch's by {gap:.1e}; nothing was written")
    if arguments.precision == "int8":
        model = _in_eight_bits(model, encoder, arguments)
    atomic_write_bytes(arguments.out, model)
    kept = f", largest difference to PyTorch {gap:.1e}" if arguments.precision == "float32" else ""
    print(f"{arguments.out}: {len(model) / 2**20:.1f} MiB{kept}")
    return 0


def _in_eight_bits(whole: bytes, encoder: EmotionEncoder, arguments: argparse.Namespace) -> bytes:
    """The quantised model, compared with the whole one on the valid split; the comparison is printed and noted in it."""
    from encoder.quantize import calibration_faces, compare_precisions, losses_too_large, model_input, quantize

    train, valid = (_load(arguments.data, split, encoder.preprocessing.size) for split in ("train", "valid"))
    small = quantize(whole, model_input(calibration_faces(train), arguments.input))
    comparison = compare_precisions(whole, small, valid, arguments.input)
    print(f"int8 minus float32 on {valid.source} valid, 95 % intervals by paired bootstrap")
    for head, part in comparison.items():
        for figure, values in part["difference"].items():
            ends = f"{values['low']:+.4f} to {values['high']:+.4f}"
            print(f"  {head:<8} {figure:<28} {values['difference']:+.4f} ({ends}), {part['faces']} faces")
    too_large = losses_too_large(comparison)
    if too_large:
        raise UserError(f"int8 costs too much, nothing was written: {'; '.join(too_large)}")
    notes = metadata(encoder, arguments.input, arguments.weights)
    return with_metadata(small, {**notes, "precision": {"type": "int8", "compared_on": f"{valid.source} valid", **comparison}})


def _load(data: str, split: str, size: int) -> FaceSet:
    from encoder.datasets import load_faces
    from encoder.drawn import drawn_set

    if data == "drawn":
        return drawn_set(split, 700, seed=0, size=size)  # type: ignore[arg-type]
    return load_faces(Path(data).expanduser(), split, size=size)  # type: ignore[arg-type]


def _require_packages() -> None:
    from importlib.util import find_spec

    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]
    if missing:
        raise UserError(f"export to ONNX needs {', '.join(missing)}: pip install 'mimique[onnx]'")


def _exportable(encoder: EmotionEncoder, input_type: InputType) -> nn.Module:
    """The whole way from faces to (distribution, each head, embedding) as one module."""
    import torch
    from torch import Tensor, nn

    class FacesToEmotions(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = encoder.net

        def forward(self, faces: Tensor) -> tuple[Tensor, ...]:
            grey = faces.to(torch.float32) / 255.0 if input_type == "uint8" else faces
            output = encoder.forward_unit(grey)
            heads = [encoder.head_log_probabilities(output, name).exp() for name in encoder.net.config.heads]
            return (encoder.log_distribution(output).exp(), *heads, output.embedding)

    return FacesToEmotions().eval()


def to_onnx(encoder: EmotionEncoder, input_type: InputType = "float32", *, source: str = "") -> bytes:
    """The encoder as a serialised ONNX model with a dynamic batch; ``source`` is noted in its metadata."""
    import torch

    size = encoder.preprocessing.size
    # Two faces: a batch of one would be taken for a constant.
    example = torch.zeros(2, 1, size, size, dtype=torch.uint8 if input_type == "uint8" else torch.float32)
    program: Any = torch.onnx.export(
        _exportable(encoder, input_type),
        (example,),
        input_names=["faces"],
        output_names=["distribution", *encoder.net.config.heads, "embedding"],
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


def with_metadata(model: bytes, notes: Mapping[str, Any]) -> bytes:
    """The model with exactly these notes in its metadata; values that are not text are stored as JSON."""
    import onnx

    parsed = onnx.load_model_from_string(model)
    del parsed.metadata_props[:]
    for key, value in notes.items():
        parsed.metadata_props.add(key=key, value=value if isinstance(value, str) else json.dumps(value))
    return parsed.SerializeToString()


def metadata(encoder: EmotionEncoder, input_type: InputType, source: str) -> dict[str, Any]:
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


def open_session(model: bytes | str, threads: int = 0) -> Any:
    """An ONNX Runtime session on the CPU, its telemetry off; ``threads`` 0: as many as there are cores."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def largest_gap(model: bytes, encoder: EmotionEncoder, input_type: InputType, seed: int = 0) -> float:
    """Largest difference of any probability, or of any embedding entry, between ONNX Runtime and PyTorch.

    Over batches of 1, 2 and 33 faces: random noise, flat grey and drawn faces.
    """
    import numpy as np

    session = open_session(model)
    gaps = []
    for faces in _trial_faces(encoder.preprocessing.size, seed):
        given = faces if input_type == "uint8" else (faces / np.float32(255.0)).astype(np.float32)
        names = [output.name for output in session.get_outputs()]
        answers = dict(zip(names, session.run(None, {"faces": given}), strict=True))
        read = encoder.predict(given)
        wanted = {"distribution": read.distributions, **read.heads, "embedding": read.embeddings}
        gaps += [float(np.abs(answers[name] - value.numpy()).max()) for name, value in wanted.items()]
    # A gap that is no number must not be lost in a maximum.
    return float(np.max(gaps))


def _trial_faces(size: int, seed: int) -> list[np.ndarray]:
    import numpy as np

    from encoder.drawn import draw_faces

    rng = np.random.default_rng(seed)
    noise = rng.integers(0, 256, (1, 1, size, size), dtype=np.uint8)
    flat = np.stack([np.full((1, size, size), level, np.uint8) for level in (0, 255)])
    return [noise, flat, draw_faces(33, seed=seed, size=size).images[:, None]]


def cli() -> None:
    """Entry point."""
    run(main)


if __name__ == "__main__":
    cli()
