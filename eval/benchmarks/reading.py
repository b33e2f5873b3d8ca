"""Crops, photographs and a video read side by side with DeepFace, on the CPU."""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from configs.cli import UserError, command, command_parser
from engine.storage.atomic import require_new
from engine.threads import free_threads, use_threads
from eval.benchmarks import harness
from eval.benchmarks.contestants import deepface_analyze
from eval.benchmarks.harness import DEFAULT
from eval.experiments.options import at_least

if TYPE_CHECKING:
    from encoder.analysis.analyzer import FaceAnalyzer
    from encoder.inference.emotion_encoder import EmotionEncoder

EXAMPLES = """examples:
  python -m eval.benchmarks.reading
  python -m eval.benchmarks.reading --threads 1 --photographs 60 --frames 50

All run in one process with the same number of threads and by turns, so that whatever slows the machine slows everybody;
times are medians over the turns, and "to DeepFace" says how many times as fast. Crops are 96 x 96 in memory: one at a time,
and 64 at once, where DeepFace.analyze gets them as a list; ours as installed (ONNX Runtime on a CPU) and by PyTorch.
Photographs are JPEG files of 1,024 x 768 pixels: found, cropped and read by our FaceAnalyzer with its own detector and
mirrored views, and by DeepFace.analyze with its detector "opencv"; each reads every file once, ten files a turn. The video has
1,280 x 720 pixels and two faces in each frame, and is decoded, searched and read. Seconds are of the wall clock;
"of a core" counts the work of all threads, which other programs on the machine change less.

The pictures are made of faces that the shipped weights generate. Without DeepFace's published weights on disk its network
gets random ones of the same shape: the speed is the same, the answers mean nothing."""

_THEIRS = "DeepFace"
_CROPS, _SIDE, _SINGLES, _FILES = 64, 96, 16, 10
# Reads crops or files, and says how many of them it could read.
Read = Callable[[Sequence[Any]], int]


def build_parser() -> argparse.ArgumentParser:
    parser = command_parser("python -m eval.benchmarks.reading", __doc__, EXAMPLES)
    parser.add_argument("--photographs", type=int, default=200, help=f"pictures to make and read ({DEFAULT})")
    parser.add_argument("--frames", type=int, default=100, help=f"frames of the video ({DEFAULT})")
    harness.add_options(parser, "reading", rounds=15, seed="of the generated faces and of where they lie", least=" of the crops")
    return parser


def main(argv: Sequence[str]) -> int:
    asked = build_parser().parse_args(argv)
    at_least(asked, photographs=2, frames=2, rounds=1, threads=1)
    require_new([asked.out], asked.overwrite)
    threads = asked.threads or free_threads()
    # Read by the libraries when they are first imported, which is below.
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    deepface, note = deepface_analyze()
    import cv2

    from encoder.analysis.analyzer import FaceAnalyzer
    from eval.benchmarks.scenes import made_faces, make_photographs, make_video
    from generation.pipeline import FacePipeline

    use_threads(threads)
    cv2.setNumThreads(threads)
    faces = made_faces(FacePipeline.from_pretrained(), 24, asked.seed)
    ours = {name: FaceAnalyzer.from_pretrained(f"pretrained/{name}", device="cpu") for name in ("encoder", "fast")}
    with tempfile.TemporaryDirectory() as folder:
        files = make_photographs(faces, Path(folder), asked.photographs, asked.seed)
        video = str(Path(folder) / "video.mp4")
        make_video(faces, Path(video), asked.frames, asked.seed)
        parts = {
            **read_crops({name: each.encoder for name, each in ours.items()}, deepface, faces, asked.rounds),
            "photographs": read_photographs(ours, deepface, files),
        }
        frames = read_video(ours["encoder"], video)
    report = {
        "threads": threads,
        "seed": asked.seed,
        "rounds": asked.rounds,
        "photographs": len(files),
        "machine": harness.describe_machine(("torch", "onnxruntime", "deepface", "opencv-python")),
        "deepface": note,
        "parts": parts,
        "video": frames,
    }
    return harness.finish(report, format_table(report), asked.out)


def read_crops(
    encoders: Mapping[str, EmotionEncoder], deepface: Callable[..., Any], faces: NDArray[np.uint8], rounds: int
) -> dict[str, dict[str, Any]]:
    """Figures a crop, one at a time and many at once."""
    from PIL import Image

    sized = [np.asarray(Image.fromarray(face).convert("L").resize((_SIDE, _SIDE), Image.Resampling.BICUBIC)) for face in faces]
    crops = [np.repeat(sized[k % len(sized)][..., None], 3, axis=2) for k in range(_CROPS)]
    readers: dict[str, Read] = {}
    for name, encoder in encoders.items():
        for title, runtime in ((name, "auto"), (f"{name}, PyTorch", "pytorch")):
            readers[title] = partial(_read_with, encoder, runtime)
    readers[_THEIRS] = lambda given: len(deepface(list(given), detector_backend="skip"))
    singly: dict[str, Read] = {
        name: lambda given, read=read: sum(read([crop]) for crop in given)  # type: ignore[misc]
        for name, read in readers.items()
    }
    return {
        "crops, one at a time": by_turns(singly, [crops[:_SINGLES]] * rounds),
        "crops, 64 at once": by_turns(readers, [crops] * rounds),
    }


def _read_with(encoder: EmotionEncoder, runtime: Any, given: Sequence[Any]) -> int:
    return len(encoder.predict(np.stack(given), runtime=runtime).distributions)


def read_photographs(
    ours: Mapping[str, FaceAnalyzer], deepface: Callable[..., Any], files: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Figures a file; ``read`` counts those in which a face was found."""

    def theirs(part: Sequence[str]) -> int:
        answers = [deepface(file, detector_backend="opencv") for file in part]
        # Where nothing is found it reads the whole picture, and says that it is sure of nothing.
        return sum(any(face["face_confidence"] > 0 for face in answer) for answer in answers)

    readers: dict[str, Read] = {
        name: lambda part, analyzer=analyzer: len({row.source for row in analyzer.analyze(list(part)).faces})  # type: ignore[misc]
        for name, analyzer in ours.items()
    }
    readers[_THEIRS] = theirs
    return by_turns(readers, [files[start : start + _FILES] for start in range(0, len(files), _FILES)])


def by_turns(readers: Mapping[str, Read], pieces: Sequence[Sequence[Any]]) -> dict[str, dict[str, Any]]:
    """Every reader on every piece, the first of them changing from piece to piece, after one item for warming up.

    Returns:
        for each the milliseconds of an item, of the clock and of a core (medians over the pieces), each turn's seconds, and
        ``read``: how many items it says that it read.
    """
    figures: dict[str, dict[str, Any]] = {}
    turns: dict[str, list[tuple[float, float]]] = {name: [] for name in readers}
    done = dict.fromkeys(readers, 0)
    for read in readers.values():
        read(pieces[0][:1])
    names = list(readers)
    for number, piece in enumerate(pieces):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            started, started_work = time.perf_counter(), time.process_time()
            done[name] += readers[name](piece)
            taken = time.perf_counter() - started, time.process_time() - started_work
            turns[name].append((taken[0] / len(piece), taken[1] / len(piece)))
    for name, taken_by in turns.items():
        seconds, work = ([turn[k] for turn in taken_by] for k in (0, 1))
        figures[name] = {
            "milliseconds": float(f"{1000 * statistics.median(seconds):.4g}"),
            "milliseconds_of_a_core": float(f"{1000 * statistics.median(work):.4g}"),
            "read": done[name],
            "seconds": [float(f"{value:.4g}") for value in seconds],
        }
    return figures


def read_video(analyzer: FaceAnalyzer, file: str) -> dict[str, Any]:
    """Frames a second from the file to rows."""
    from encoder.pictures.sources import view_files

    started, started_work = time.perf_counter(), time.process_time()
    readings = list(analyzer.stream(view_files([file])))
    seconds, work = time.perf_counter() - started, time.process_time() - started_work
    faces = sum(row.problem is None for reading in readings for row in reading.rows)
    if not faces:
        raise UserError("no face was found in the video; choose another --seed")
    return {
        "frames": len(readings),
        "faces": faces,
        "frames_per_second": float(f"{len(readings) / seconds:.4g}"),
        "frames_per_second_of_a_core": float(f"{len(readings) / work:.4g}"),
    }


def format_table(report: Mapping[str, Any]) -> list[str]:
    machine, video, cells = report["machine"], report["video"], []
    for part, rows in report["parts"].items():
        theirs = rows[_THEIRS]
        for name, row in rows.items():
            ratios = [f"{theirs[key] / row[key]:.2f} x" for key in ("milliseconds", "milliseconds_of_a_core")]
            cells.append((f"{part}: {name}", f"{row['milliseconds']:.2f}", *ratios, row["read"]))
    return [
        f"{report['threads']} thread(s), seed {report['seed']}, {report['photographs']} photographs, {report['rounds']} rounds "
        f"of crops, {machine['processor']}; DeepFace: {report['deepface']}",
        "",
        *harness.table(("what", "ms each", "to DeepFace", "of a core", "read"), cells),
        "",
        f"video, {video['frames']} frames of 1,280 x 720 with {video['faces']} faces: {video['frames_per_second']:.1f} frames/s, "
        f"{video['frames_per_second_of_a_core']:.1f} a second of a core",
    ]


cli = command(main)


if __name__ == "__main__":
    cli()
