"""The trained encoder as people use it: pictures in, calibrated distributions and embeddings out."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self, get_args

import torch

from configs.cli import UserError
from configs.values import refuse, whole
from encoder.config import CalibrationConfig, PreprocessingConfig
from encoder.inference.calibrated_net import KIND, CalibratedNet
from encoder.inference.graph_copy import GraphCopy
from encoder.inference.prediction import Prediction
from encoder.inference.preprocessing import faces_as_grey, resize
from encoder.models.emotion_net import EmotionNet
from engine.progress import in_chunks
from engine.storage.weights import shipped

__all__ = ["KIND", "EmotionEncoder", "Prediction"]

Runtime = Literal["auto", "pytorch"]


class EmotionEncoder(CalibratedNet):
    """A network with its input convention and calibration.

    Build with :meth:`from_pretrained`; call :meth:`predict` on pictures, or :meth:`log_distribution` on differentiable
    tensors (losses, guidance).
    """

    def __init__(self, net: EmotionNet, preprocessing: PreprocessingConfig, calibration: CalibrationConfig) -> None:
        super().__init__(net, preprocessing, calibration)
        self._graph: GraphCopy | None = None

    @classmethod
    def from_pretrained(cls, folder: str | Path = "pretrained/encoder") -> Self:
        """As :meth:`StoredNetwork.from_pretrained`; ``pretrained/…`` is found where the project is installed, too.

        Stored weights stay as they are: on the CPU ONNX Runtime may read them.
        """
        encoder = super().from_pretrained(shipped(folder))
        encoder._graph = GraphCopy()
        return encoder

    @torch.inference_mode()
    def predict(self, faces: Any, *, batch_size: int | None = None, runtime: Runtime = "auto") -> Prediction:
        """Read a batch of tightly cropped faces.

        Args:
            faces: arrays or tensors as for :func:`encoder.inference.preprocessing.to_grey`: uint8 or [0, 1] floats, grey or RGB,
                any size; or one or several pictures (list, generator, Series), each as for
                :func:`encoder.pictures.given.picture_of`, such as paths and PIL images.
            batch_size: faces that go through the network at once; None: :attr:`preferred_batch`.
            runtime: ``auto``: on the CPU ONNX Runtime reads stored networks (:class:`encoder.inference.graph_copy.GraphCopy`);
                ``pytorch``: as it reads all others, on the CPU through :class:`encoder.inference.folded.FoldedCopy`. The
                two differ by rounding (below 1e-4).

        Raises:
            UserError: faces of another shape, type or range.
        """
        if batch_size is not None and whole("batch_size", batch_size) < 1:
            raise UserError(f"batch_size: must be at least 1, got {batch_size}")
        if runtime not in get_args(Runtime):
            refuse("runtime", f"one of {', '.join(get_args(Runtime))}", runtime)
        grey, together = faces_as_grey(faces, self.preprocessing.size), batch_size or self.preferred_batch
        graph = None if runtime == "pytorch" or self._graph is None or not len(grey) else self._graph.of(self)
        if graph is None:
            return self.read(grey, together)
        shown = (resize(chunk, self.preprocessing.size).cpu().numpy() for chunk in in_chunks(grey, together, "reading"))
        return self.prediction([[torch.from_numpy(part) for part in graph(chunk)] for chunk in shown])
