"""A stored encoder as ONNX Runtime reads it on the CPU: its graph is traced once and kept in the user's cache folder."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from configs.cli import UserError
from encoder.inference.folded import Seen, plain, watched
from encoder.inference.onnx_graph import OPSET, TOLERANCE, open_session, output_names, traced
from engine.storage.atomic import atomic_write_bytes

if TYPE_CHECKING:
    from encoder.inference.calibrated_net import CalibratedNet

# Tracing a network of 15 million parameters takes two seconds, and its graph 60 MB; PyTorch reads it as fast in batches.
MOST_PARAMETERS = 8 * 10**6
# Graphs that stay in the cache folder; the one that was used longest ago goes first.
MOST_KEPT = 8
# Tracing is a matter of the whole process.
_TRACING = Lock()


class _Made(NamedTuple):
    """What was made of an encoder in one state; ``graph`` is None where PyTorch must do."""

    seen: Seen
    settings: tuple[Any, Any]
    graph: bytes | None
    session: Any = None
    threads: int = 0


class GraphCopy:
    """The graph of an encoder, made when it is first read through; it never answers for weights that changed since.

    Once they have changed PyTorch answers, as they may change again. A change through ``.data`` of a parameter is not seen.
    """

    def __init__(self) -> None:
        self._made: _Made | None = None

    def __reduce__(self) -> tuple[type[GraphCopy], tuple[()]]:
        # Copied with its encoder, or sent to another process, it starts empty.
        return GraphCopy, ()

    def of(self, encoder: CalibratedNet) -> Callable[[NDArray[np.float32]], list[NDArray[np.float32]]] | None:
        """Reads (N, 1, S, S) floats in [0, 1] into :func:`encoder.inference.onnx_graph.output_names`; None: PyTorch must.

        It must where the network learns or is watched by hooks, has changed, lies elsewhere than on the CPU, or has more
        than ``MOST_PARAMETERS`` parameters; and where ONNX Runtime fails, which is said on standard error.
        """
        tensors = watched(encoder.net)
        if tensors is None or any(tensor.requires_grad for tensor in tensors):
            return None
        made, threads = self._made, torch.get_num_threads()
        if made is None:
            if not all(plain(tensor) for tensor in tensors):
                return None
            self._made = made = self._first(encoder, tensors)
        elif made.graph is not None and not self._same(made, encoder, tensors):
            self._made = made = made._replace(graph=None, session=None)
        if made.graph is None:
            return None
        if made.threads != threads:
            self._made = made = made._replace(session=open_session(made.graph, threads, steady=False), threads=threads)
        session = made.session
        return lambda faces: session.run(None, {"faces": faces})

    def _first(self, encoder: CalibratedNet, tensors: list[Tensor]) -> _Made:
        made = _Made(Seen(tensors), (encoder.preprocessing, encoder.calibration), None)
        if sum(tensor.numel() for tensor in tensors) > MOST_PARAMETERS:
            return made
        threads = torch.get_num_threads()
        try:
            with _TRACING:
                graph, session = _graph_and_session(encoder, tensors, threads)
        except Exception as error:
            # Two programs take part, either of which may refuse in its own way.
            reason = " ".join(str(error).split()) or type(error).__name__
            print(f"encoder: ONNX Runtime cannot be used, PyTorch reads instead, more slowly: {reason[:300]}", file=sys.stderr)
            return made
        return made._replace(graph=graph, session=session, threads=threads)

    @staticmethod
    def _same(made: _Made, encoder: CalibratedNet, tensors: list[Tensor]) -> bool:
        preprocessing, calibration = made.settings
        same = encoder.preprocessing is preprocessing and encoder.calibration is calibration
        return same and made.seen.holds(tensors)


def _graph_and_session(encoder: CalibratedNet, tensors: list[Tensor], threads: int) -> tuple[bytes, Any]:
    """From the cache folder where it lies there, or made, checked and kept there.

    Raises whatever the exporter or ONNX Runtime raise, and UserError where the answers differ from PyTorch's.
    """
    file = cache_folder() / f"{graph_key(encoder, tensors)}.onnx"
    # A damaged file is one that was not made.
    with suppress(Exception):
        graph = file.read_bytes()
        session = open_session(graph, threads, steady=False)
        os.utime(file)
        return graph, session
    # Asked in the middle of a training in bfloat16, the graph is still one of float32.
    with torch.autocast("cpu", enabled=False):
        graph = traced(encoder)
        session = open_session(graph, threads, steady=False)
        gap = _largest_gap(encoder, session)
    if not gap <= TOLERANCE:
        raise UserError(f"its answers differ from PyTorch's by {gap:.1e}")
    # Without a place to write, the graph lives in memory.
    with suppress(OSError, UserError):
        file.parent.mkdir(parents=True, exist_ok=True)
        atomic_write_bytes(file, graph)
        _remove_old(file.parent)
    return graph, session


def cache_folder() -> Path:
    """Where graphs are kept: ``mimique/graphs`` in ``XDG_CACHE_HOME``, or in ``.cache`` of the user's home."""
    place = os.environ.get("XDG_CACHE_HOME", "")
    return Path(place if os.path.isabs(place) else os.path.expanduser("~/.cache")) / "mimique" / "graphs"


def graph_key(encoder: CalibratedNet, tensors: list[Tensor]) -> str:
    """SHA-256 of all that makes the graph: weights, settings, this code, and the versions that trace and run it."""
    import onnxruntime

    digest = hashlib.sha256(f"{OPSET} {torch.__version__} {onnxruntime.__version__}".encode())
    for settings in (encoder.net.config, encoder.preprocessing, encoder.calibration):
        digest.update(settings.model_dump_json().encode())
    here = Path(__file__).resolve().parent
    for source in sorted([*here.glob("*.py"), *(here.parent / "models").glob("*.py")]):
        digest.update(source.read_bytes())
    for tensor in tensors:
        digest.update(str(tuple(tensor.shape)).encode())
        digest.update(tensor.detach().numpy().tobytes())
    return digest.hexdigest()


def _largest_gap(encoder: CalibratedNet, session: Any) -> float:
    """Largest difference to PyTorch over noise and flat grey; of an embedding as a share of its largest entry."""
    size = encoder.preprocessing.size
    noise = np.random.default_rng(0).random((2, 1, size, size), dtype=np.float32)
    faces = np.concatenate([noise, np.full((1, 1, size, size), 0.5, np.float32)])
    answers = dict(zip(output_names(encoder), session.run(None, {"faces": faces}), strict=True))
    read = encoder.read(torch.from_numpy(faces), len(faces))
    wanted = {"distribution": read.distributions, **read.heads, "embedding": read.embeddings}
    gaps = []
    for name, value in wanted.items():
        scale = max(1.0, float(value.abs().max())) if name == "embedding" else 1.0
        gaps.append(float(np.abs(answers[name] - value.numpy()).max()) / scale)
    # A gap that is no number must not be lost in a maximum.
    return float(np.max(gaps))


def _remove_old(folder: Path) -> None:
    files = sorted(folder.glob("*.onnx"), key=lambda file: file.stat().st_mtime, reverse=True)
    for file in files[MOST_KEPT:]:
        file.unlink(missing_ok=True)
