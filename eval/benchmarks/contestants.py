"""The contestants of the encoder's speed benchmark, each measured alone in a process of its own."""

from __future__ import annotations

import os
import resource
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from configs.cli import UserError

Crops = list[npt.NDArray[np.uint8]]
# Reads all crops and returns (N, 7) or N results.
Read = Callable[[Crops], Any]
# Makes such a function of weights and a number of threads, and a note on how it was set up.
Make = Callable[[str, int], tuple[Read, str]]
DEEPFACE_WEIGHTS = "facial_expression_model_weights.pth"


def mimique(weights: str, _threads: int) -> tuple[Read, str]:
    from encoder.inference.emotion_encoder import EmotionEncoder
    from engine.storage.weights import resolve_folder

    encoder = EmotionEncoder.from_pretrained(resolve_folder(weights))
    return lambda crops: encoder.predict(np.stack(crops)).distributions.numpy(), weights


def pytorch(weights: str, _threads: int) -> tuple[Read, str]:
    """Our encoder as it reads where ONNX Runtime cannot."""
    from encoder.inference.emotion_encoder import EmotionEncoder
    from engine.storage.weights import resolve_folder

    encoder = EmotionEncoder.from_pretrained(resolve_folder(weights))
    return lambda crops: encoder.predict(np.stack(crops), runtime="pytorch").distributions.numpy(), weights


def onnx(file: str, threads: int) -> tuple[Read, str]:
    """An exported file of our encoder, without PyTorch; grey and resized in NumPy and Pillow."""
    from PIL import Image

    from encoder.inference.onnx_graph import open_session

    session = open_session(file, threads)
    size = int(session.get_inputs()[0].shape[-1])

    def read(crops: Crops) -> npt.NDArray[np.float32]:
        rows = []
        # As in EmotionEncoder.predict, small batches that stay in the processor's caches.
        for start in range(0, len(crops), 16):
            grey = (Image.fromarray(crop).convert("L") for crop in crops[start : start + 16])
            faces = np.stack([np.asarray(each.resize((size, size), Image.Resampling.BILINEAR)) for each in grey])[:, None]
            rows.append(session.run(["distribution"], {"faces": faces})[0])
        return np.concatenate(rows)

    return read, file


def deepface(_weights: str, _threads: int) -> tuple[Read, str]:
    """``DeepFace.analyze``, without detection, with the list of crops."""
    analyze, note = deepface_analyze()
    return lambda crops: [found[0]["emotion"] for found in analyze(crops)], note


def deepface_network(_weights: str, _threads: int) -> tuple[Read, str]:
    """DeepFace's emotion network in true batches of 64, which ``analyze`` does not use; crops resized by OpenCV as it does."""
    _analyze, note = deepface_analyze()
    import cv2
    from deepface.modules import modeling

    client = modeling.build_model(task="facial_attribute", model_name="Emotion")

    def read(crops: Crops) -> npt.NDArray[np.float32]:
        rows = []
        for start in range(0, len(crops), 64):
            large = [cv2.resize(crop, (224, 224)) for crop in crops[start : start + 64]]
            rows.append(np.atleast_2d(client.predict(np.stack(large).astype(np.float32) / 255.0)))
        return np.concatenate(rows)

    return read, note


def deepface_analyze() -> tuple[Callable[..., Any], str]:
    """``DeepFace.analyze`` for emotion, on the CPU, with its published weights where they lie on disk; detection off.

    What is returned takes a list of crops, or what ``analyze`` takes, and options of it.
    """
    os.environ.setdefault("DEEPFACE_BACKEND_ENGINE", "pytorch")
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    home = Path(os.environ.get("DEEPFACE_HOME") or Path.home())
    found = (home / ".deepface" / "weights" / DEEPFACE_WEIGHTS).is_file()
    # Importing DeepFace silences every warning of the process.
    with warnings.catch_warnings():
        try:
            from deepface import DeepFace
            from deepface.models.demography.pytorch import Emotion as emotion_model
        except ImportError as error:
            raise UserError(f"DeepFace cannot be imported ({error}): pip install deepface werkzeug") from None
    if not found:
        emotion_model.load_model = lambda: emotion_model.base_model().eval()

    def analyze(pictures: Any, detector_backend: str = "skip") -> Any:
        options = {"detector_backend": detector_backend, "enforce_detection": False, "silent": True}
        return DeepFace.analyze(pictures, actions=["emotion"], **options)

    return analyze, "published weights" if found else "random weights (the published ones are not on disk)"


def one_by_one(make: Make) -> Make:
    """The same contestant, called once a crop."""

    def made(weights: str, threads: int) -> tuple[Read, str]:
        read, note = make(weights, threads)
        return lambda crops: [read([crop])[0] for crop in crops], note

    return made


CONTESTANTS: dict[str, Make] = {
    "mimique, batch 1": one_by_one(mimique),
    "mimique, batched": mimique,
    "mimique PyTorch, batch 1": one_by_one(pytorch),
    "mimique PyTorch, batched": pytorch,
    "mimique ONNX, batch 1": one_by_one(onnx),
    "mimique ONNX, batched": onnx,
    "mimique ONNX int8, batch 1": one_by_one(onnx),
    "mimique ONNX int8, batched": onnx,
    "DeepFace.analyze, batch 1": one_by_one(deepface),
    "DeepFace.analyze, list": deepface,
    "DeepFace network, batched": deepface_network,
}


def peak_memory_mib() -> float:
    """Highest resident memory of this process so far, in MiB."""
    status = Path("/proc/self/status")
    if status.is_file():
        # Linux counts a parent's memory into a child's ru_maxrss; VmHWM starts afresh with the program.
        line = next(line for line in status.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def measure(name: str, crops: Crops, *, weights: str, threads: int, rounds: int) -> dict[str, Any]:
    """Speed and memory of one contestant, in this process.

    Returns:
        ``seconds`` (wall clock of each round), ``cpu_seconds``, ``faces_per_second`` (median round), ``peak_mib``,
        ``loaded_mib`` (peak before the first crop) and ``note``.
    """
    read, note = CONTESTANTS[name](weights, threads)
    # Only the libraries that this contestant loads: importing torch for all would count as the memory of all.
    for library, limit in (("torch", "set_num_threads"), ("cv2", "setNumThreads")):
        if library in sys.modules:
            getattr(sys.modules[library], limit)(threads)
    loaded = peak_memory_mib()
    # First calls choose kernels and fill caches; every contestant gets them for free.
    if len(read(crops[:2])) != 2 or len(read(crops)) != len(crops):
        raise UserError(f"{name}: gave another number of answers than crops")
    wall, cpu = [], []
    for _ in range(rounds):
        started, started_cpu = time.perf_counter(), time.process_time()
        read(crops)
        wall.append(time.perf_counter() - started)
        cpu.append(time.process_time() - started_cpu)
    return {
        "seconds": [round(value, 4) for value in wall],
        "cpu_seconds": [round(value, 4) for value in cpu],
        "faces_per_second": round(len(crops) / statistics.median(wall), 1),
        "peak_mib": round(peak_memory_mib(), 1),
        "loaded_mib": round(loaded, 1),
        "note": note,
    }


def measure_apart(name: str, crops: Crops, weights: str, threads: int, rounds: int) -> dict[str, Any]:
    """:func:`measure` in a fresh process, on the CPU: its peak memory is its own, and no other library disturbs it.

    Raises:
        UserError: the contestant failed.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        try:
            return process.submit(_child, name, crops, weights, threads, rounds).result()
        except Exception as error:
            raise UserError(f"{name} failed: {error}") from None


def _child(name: str, crops: Crops, weights: str, threads: int, rounds: int) -> dict[str, Any]:
    # Read by the libraries when they are first imported, which is below.
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    return measure(name, crops, weights=weights, threads=threads, rounds=rounds)
