"""The trained encoder as people use it: pictures in, calibrated distributions and embeddings out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import torch
from torch import Tensor

from encoder.config import CalibrationConfig, HeadCalibration, ModelConfig, PreprocessingConfig
from encoder.emotions import NUM_EMOTIONS
from encoder.inference.calibration import calibrated_log_probabilities, fold_to_seven
from encoder.inference.folded import FoldedCopy
from encoder.inference.graph_copy import GraphCopy
from encoder.inference.preprocessing import normalise, resize, to_grey
from encoder.inference.stored_network import StoredNetwork
from encoder.models.create import check_input, create_model
from encoder.models.emotion_net import EmotionNet, EncoderOutput

KIND = "encoder"
Runtime = Literal["auto", "pytorch"]


@dataclass(frozen=True)
class Prediction:
    """What the encoder says of N faces, on the CPU.

    Attributes:
        distributions: (N, 7) probabilities in :class:`encoder.emotions.Emotion` order: the product's answer.
        heads: per label scheme, (N, classes) calibrated probabilities (``ferplus`` has contempt as its eighth).
        embeddings: (N, D) pooled features.
    """

    distributions: Tensor
    heads: Mapping[str, Tensor]
    embeddings: Tensor


class EmotionEncoder(StoredNetwork[EmotionNet, CalibrationConfig]):
    """A network with its input convention and calibration.

    Build with :meth:`from_pretrained`; call :meth:`predict` on pictures, or :meth:`log_distribution` on differentiable
    tensors (losses, guidance).
    """

    kind = KIND
    model_settings = ModelConfig
    calibration_settings = CalibrationConfig
    build = staticmethod(create_model)

    def __init__(self, net: EmotionNet, preprocessing: PreprocessingConfig, calibration: CalibrationConfig) -> None:
        check_input(net.config, preprocessing)
        super().__init__(net, preprocessing, calibration)
        self._folded = FoldedCopy()
        self._graph: GraphCopy | None = None

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Self:
        """As :meth:`StoredNetwork.from_pretrained`. Stored weights stay as they are: on the CPU ONNX Runtime may read them."""
        encoder = super().from_pretrained(folder)
        encoder._graph = GraphCopy()
        return encoder

    @property
    def preferred_batch(self) -> int:
        """Faces worth reading at once: on the CPU few, whose maps stay in its caches (twice as fast as hundreds)."""
        return 16 if self.device.type == "cpu" else 256

    def forward_unit(self, grey: Tensor) -> EncoderOutput:
        """The raw network on (N, 1, H, W) floats in [0, 1], already grey; differentiable, not checked."""
        return self.net(self._normalised(grey))

    def _normalised(self, grey: Tensor) -> Tensor:
        return normalise(resize(grey, self.preprocessing.size), self.preprocessing)

    def head_log_probabilities(self, output: EncoderOutput, head: str) -> Tensor:
        """Calibrated (N, classes) log-probabilities of one head."""
        return calibrated_log_probabilities(output.logits[head], self.calibration.heads.get(head, HeadCalibration()))

    def log_distribution(self, output: EncoderOutput) -> Tensor:
        """(N, 7) log-probabilities of the product's answer."""
        return fold_to_seven(self.head_log_probabilities(output, self.calibration.answer))

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
        grey = to_grey(faces)
        graph = None if runtime == "pytorch" or self._graph is None or not len(grey) else self._graph.of(self)
        net = self._folded.of(self.net) if graph is None else None
        parts: list[list[Tensor]] = []
        for chunk in grey.split(batch_size or self.preferred_batch):
            if graph is not None:
                small = resize(chunk, self.preprocessing.size).cpu().numpy()
                parts.append([torch.from_numpy(part) for part in graph(small)])
            else:
                output = net(self._normalised(chunk.to(self.device)))
                heads = [self.head_log_probabilities(output, name).exp() for name in self.net.config.heads]
                parts.append([part.cpu() for part in (self.log_distribution(output).exp(), *heads, output.embedding)])
        if not parts:
            empty = torch.empty(0, NUM_EMOTIONS)
            return Prediction(empty, dict.fromkeys(self.net.config.heads, empty), empty)
        distributions, *heads, embeddings = (torch.cat(rows) for rows in zip(*parts, strict=True))
        return Prediction(distributions, dict(zip(self.net.config.heads, heads, strict=True)), embeddings)
