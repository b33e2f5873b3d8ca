"""Faces a second and memory: our encoder against DeepFace's emotion model on the same crops, on the CPU."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from configs.cli import UserError, command, command_parser
from encoder.drawing.faces import draw_faces
from engine.storage.atomic import require_new
from engine.threads import free_threads
from eval.benchmarks import harness
from eval.benchmarks.contestants import measure_apart
from eval.benchmarks.harness import DEFAULT
from eval.experiments.options import at_least
from eval.faces.real import load_real

EXAMPLES = """examples:
  python -m eval.benchmarks.encoder
  python -m eval.benchmarks.encoder --threads 1 --out out/benchmark.json
  python -m eval.benchmarks.encoder --data DATA --contestants mimique deepface

Every contestant gets the same crops in memory (uint8, three channels) and ends with seven probabilities each; detection is
off. Each runs in a process of its own with the same number of threads: two warm-up calls, then --rounds timed ones, of
which the median counts. "DeepFace.analyze" is what DeepFace's users call; "DeepFace network" is its emotion network in true
batches. Crops are drawn faces, or FER-2013 test faces with --data. Without DeepFace's published weights on disk its network
gets random ones of the same shape: the speed is the same, the answers mean nothing. "mimique" is as installed, "mimique PyTorch"
the same without ONNX Runtime, "mimique ONNX" an exported file without PyTorch, which needs the extra onnx.

Memory and every contestant: here. Side by side by turns, with detection and video: python -m eval.benchmarks.reading."""

GROUPS = {
    "mimique": ("mimique, batch 1", "mimique, batched"),
    "pytorch": ("mimique PyTorch, batch 1", "mimique PyTorch, batched"),
    "onnx": ("mimique ONNX, batch 1", "mimique ONNX, batched"),
    "int8": ("mimique ONNX int8, batch 1", "mimique ONNX int8, batched"),
    "deepface": ("DeepFace.analyze, batch 1", "DeepFace.analyze, list", "DeepFace network, batched"),
}
# What is said of exported files.
ONNX = {"onnx": "", "int8": ", calibrated on drawn faces (its accuracy: python -m encoder.export --help)"}
# What the project aims at: so many times as fast as DeepFace.analyze.
TARGETS = (("batch 1", "DeepFace.analyze, batch 1", 2.0), ("batched", "DeepFace.analyze, list", 10.0))


def build_parser() -> argparse.ArgumentParser:
    parser = command_parser("python -m eval.benchmarks.encoder", __doc__, EXAMPLES)
    parser.add_argument("--weights", default="pretrained/encoder", help=f"folder with our weights ({DEFAULT})")
    parser.add_argument("--contestants", nargs="+", choices=tuple(GROUPS), help="default: all that are installed")
    parser.add_argument("--data", help="folder with FER-2013; default: drawn faces")
    parser.add_argument("--faces", type=int, default=512, help=f"number of crops ({DEFAULT})")
    parser.add_argument("--size", type=int, default=96, help=f"pixels of a crop's side ({DEFAULT})")
    harness.add_options(parser, "encoder", rounds=3, seed="of the drawn faces")
    parser.add_argument("--json", action="store_true", help="print the JSON instead of the table")
    return parser


def main(argv: Sequence[str]) -> int:
    asked = build_parser().parse_args(argv)
    at_least(asked, faces=2, size=1, rounds=1, threads=1)
    require_new([asked.out], asked.overwrite)
    from tqdm import tqdm

    groups = asked.contestants or [name for name in GROUPS if name not in ONNX or _onnx_installed()]
    threads = asked.threads or free_threads()
    results: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        crops, weights = _crops(asked), {"mimique": asked.weights, "pytorch": asked.weights, "deepface": ""}
        if {*ONNX} & {*groups}:
            weights |= _write_onnx(asked.weights, Path(folder))
        jobs = [(group, name) for group in groups for name in GROUPS[group]]
        for group, name in tqdm(jobs, desc="contestants", disable=None):
            results[name] = measure_apart(name, crops, weights[group], threads, asked.rounds)
            if group in ONNX:
                results[name]["note"] = f"exported from {asked.weights}{ONNX[group]}"
    report = {
        "faces": asked.faces,
        "crop_size": asked.size,
        "source": "fer2013 test" if asked.data else f"drawn, seed {asked.seed}",
        "threads": threads,
        "rounds": asked.rounds,
        "machine": harness.describe_machine(("torch", "deepface", "onnxruntime")),
        "results": results,
        "targets": compare(results),
    }
    return harness.finish(report, format_table(report), asked.out, as_json=asked.json)


def _onnx_installed() -> bool:
    from importlib.util import find_spec

    return all(find_spec(name) is not None for name in ("onnx", "onnxscript", "onnxruntime"))


def _crops(asked: argparse.Namespace) -> list[npt.NDArray[np.uint8]]:
    """Crops (size, size, 3), the same for every contestant."""
    if asked.data:
        grey = load_real(asked.data, "test", asked.size).images[: asked.faces]
        if len(grey) < asked.faces:
            raise UserError(f"--faces {asked.faces}: the test split has only {len(grey)}")
    else:
        grey = draw_faces(asked.faces, seed=asked.seed, size=asked.size).images
    return list(np.repeat(grey[..., None], 3, axis=3))


def _write_onnx(weights: str, folder: Path) -> dict[str, str]:
    """Files of the exported encoder by group."""
    from encoder.inference.emotion_encoder import EmotionEncoder
    from encoder.inference.onnx_graph import to_onnx
    from encoder.inference.onnx_int8 import quantize
    from engine.storage.weights import resolve_folder

    if not _onnx_installed():
        raise UserError("--contestants onnx and int8 need the extra onnx: pip install 'mimique[onnx]'")
    encoder = EmotionEncoder.from_pretrained(resolve_folder(weights))
    whole = to_onnx(encoder, "uint8", source=weights)
    small = quantize(whole, draw_faces(64, seed=0, size=encoder.preprocessing.size).images[:, None])
    files = {"onnx": folder / "float32.onnx", "int8": folder / "int8.onnx"}
    files["onnx"].write_bytes(whole)
    files["int8"].write_bytes(small)
    return {name: str(path) for name, path in files.items()}


def compare(results: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """How many times as fast ours is as theirs, for every way of ours that has a target."""
    found = []
    for ours, row in results.items():
        for mode, theirs, least in TARGETS:
            if ours.startswith("mimique") and ours.endswith(mode) and theirs in results:
                ratio = row["faces_per_second"] / results[theirs]["faces_per_second"]
                found.append({"ours": ours, "theirs": theirs, "ratio": round(ratio, 2), "target": least, "met": ratio >= least})
    return found


def format_table(report: Mapping[str, Any]) -> list[str]:
    results, cells = report["results"], []
    for name, row in results.items():
        speed, memory = row["faces_per_second"], (f"{row[key]:.0f}" for key in ("peak_mib", "loaded_mib"))
        cells.append((name, f"{speed:.1f}", f"{1000 / speed:.2f}", *memory))
    return [
        f"{report['faces']} crops of {report['crop_size']} x {report['crop_size']} ({report['source']}), {report['threads']} "
        f"thread(s), median of {report['rounds']} rounds, {report['machine']['processor']}",
        "",
        *harness.table(("contestant", "faces/s", "ms/face", "peak MiB", "loaded"), cells),
        "",
        *(f"{held['ours']}: {held['ratio']:.1f} times the faces a second of {held['theirs']}" for held in report["targets"]),
        *sorted({f"{name.split(',')[0]}: {row['note']}" for name, row in results.items()}),
    ]


cli = command(main)


if __name__ == "__main__":
    cli()
