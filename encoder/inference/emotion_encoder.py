"""The trained encoder as people use it: pictures in, calibrated distributions and embeddings out."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

import torch

from encoder.config import CalibrationConfig, PreprocessingConfig
from encoder.inference.calibrated_net import KIND, CalibratedNet, Prediction
from encoder.inference.graph_copy import GraphCopy
from encoder.inference.preprocessing import resize, to_grey
from encoder.models.emotion_net import EmotionNet
from engine.progress import in_chunks

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
    def from_pretrained(cls, folder: str | Path) -> Self:
        """As :meth:`StoredNetwork.from_pretrained`. Stored weights stay as they are: on the CPU ONNX Runtime may read them."""
        encoder = super().from_pretrained(folder)
        encoder._graph = GraphCopy()
        return encoder

    @torch.inference_mode()
    def predict(self, faces: Any, *, batch_size: int | None = None, runtime: Runtime = "auto") -> Prediction:
        """Read a batch of tightly cropped faces.

        Args:
            faces: see :func:`encoder.inference.preprocessing.to_grey`: uint8 or [0, 1] floats, grey or RGB, any size.
            batch_size: faces that go through the network at once; None: :attr:`preferred_batch`.
            runtime: ``auto``: on the CPU ONNX Runtime reads stored networks (:class:`encoder.inference.graph_copy.GraphCopy`);
                ``pytorch``: as it reads all others, on the CPU through :class:`encoder.inference.folded.FoldedCopy`. The
                two differ by rounding (below 1e-4).

        Raises:
            UserError: faces of another shape, type or range.
        """
        grey, together = to_grey(faces), batch_size or self.preferred_batch
        graph = None if runtime == "pytorch" or self._graph is None or not len(grey) else self._graph.of(self)
        if graph is None:
            return self.read(grey, together)
        shown = (resize(chunk, self.preprocessing.size).cpu().numpy() for chunk in in_chunks(grey, together, "reading"))
        return self.prediction([[torch.from_numpy(part) for part in graph(chunk)] for chunk in shown])
