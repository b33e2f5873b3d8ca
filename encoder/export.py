"""Write an encoder as one ONNX file that takes grey faces and answers with calibrated probabilities."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from configs.cli import UserError, add_overwrite, command, command_parser
from encoder.inference.onnx_graph import TOLERANCE, largest_gap, metadata, to_onnx, with_metadata
from engine.storage.atomic import atomic_write_bytes, require_new

if TYPE_CHECKING:
    from encoder.inference.emotion_encoder import EmotionEncoder

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


def build_parser() -> argparse.ArgumentParser:
    """The command line; imports nothing heavy."""
    parser = command_parser("python -m encoder.export", __doc__, EXAMPLES)
    parser.add_argument("--weights", default="pretrained/encoder", help="folder with the weights (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("encoder.onnx"), help="file to write (default: %(default)s)")
    parser.add_argument(
        "--input", choices=("float32", "uint8"), default="float32", help="type of the faces (default: %(default)s)"
    )
    parser.add_argument("--precision", choices=("float32", "int8"), default="float32", help="default: %(default)s")
    parser.add_argument("--data", help='int8: folder with FER-2013, or "drawn", to calibrate with and to compare on')
    add_overwrite(parser)
    return parser


def main(argv: Sequence[str]) -> int:
    """Export, compare and write; exit code 0."""
    arguments = build_parser().parse_args(argv)
    if not arguments.out.parent.is_dir():
        raise UserError(f"--out {arguments.out}: there is no folder {arguments.out.parent}; make it first")
    require_new([arguments.out], arguments.overwrite)
    if (arguments.precision == "int8") != (arguments.data is not None):
        raise UserError("--precision int8 and --data belong together: say which faces to calibrate with and to compare on")
    _require_packages()
    from encoder.inference.emotion_encoder import EmotionEncoder
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
    from encoder.drawing.faces import load_or_draw
    from encoder.evaluation.precisions import compare_precisions, losses_too_large
    from encoder.inference.onnx_int8 import calibration_faces, model_input, quantize

    train, valid = (load_or_draw(arguments.data, split, 700, size=encoder.preprocessing.size) for split in ("train", "valid"))
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


def _require_packages() -> None:
    from importlib.util import find_spec

    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]
    if missing:
        raise UserError(f"export to ONNX needs {', '.join(missing)}: pip install 'mimique[onnx]'")


cli = command(main)


if __name__ == "__main__":
    cli()
