"""A network with its input convention and calibration, as PyTorch computes its answers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from configs.cli import UserError
from encoder.config import CalibrationConfig, HeadCalibration, ModelConfig, PreprocessingConfig
from encoder.emotions import NUM_EMOTIONS
from encoder.inference.calibration import calibrated_log_probabilities, fold_to_seven
from encoder.inference.folded import FoldedCopy
from encoder.inference.prediction import Prediction
from encoder.inference.preprocessing import normalise, resize
from encoder.inference.stored_network import StoredNetwork
from encoder.models.create import check_input, create_model
from encoder.models.emotion_net import HEAD_CLASSES, EmotionNet, EncoderOutput
from engine.progress import in_chunks

KIND = "encoder"


class CalibratedNet(StoredNetwork[EmotionNet, CalibrationConfig]):
    """What :class:`encoder.inference.emotion_encoder.EmotionEncoder` is but for how it reads fastest."""

    kind = KIND
    model_settings = ModelConfig
    calibration_settings = CalibrationConfig
    build = staticmethod(create_model)

    def __init__(self, net: EmotionNet, preprocessing: PreprocessingConfig, calibration: CalibrationConfig) -> None:
        check_input(net.config, preprocessing)
        _check_heads(net.config.heads, calibration)
        super().__init__(net, preprocessing, calibration)
        self._folded = FoldedCopy()

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
    def read(self, grey: Tensor, batch_size: int) -> Prediction:
        """Read (N, 1, H, W) grey faces, ``batch_size`` at once; on the CPU through a :class:`FoldedCopy` of the network."""
        net = self._folded.of(self.net)
        parts: list[list[Tensor]] = []
        for chunk in in_chunks(grey, batch_size, "reading"):
            output = net(self._normalised(chunk.to(self.device)))
            heads = [self.head_log_probabilities(output, name).exp() for name in self.net.config.heads]
            parts.append([part.cpu() for part in (self.log_distribution(output).exp(), *heads, output.embedding)])
        return self.prediction(parts)

    def prediction(self, parts: list[list[Tensor]]) -> Prediction:
        """Of the answers to each batch: distributions, those of each head, embeddings."""
        if not parts:
            empty = torch.empty(0, NUM_EMOTIONS)
            return Prediction(empty, dict.fromkeys(self.net.config.heads, empty), empty)
        distributions, *heads, embeddings = (torch.cat(rows) for rows in zip(*parts, strict=True))
        return Prediction(distributions, dict(zip(self.net.config.heads, heads, strict=True)), embeddings)


def _check_heads(heads: Sequence[str], calibration: CalibrationConfig) -> None:
    """Raises UserError: a calibration, or the answer, of a head that the network lacks, or another number of priors."""
    if calibration.answer not in heads:
        raise UserError(f"calibration.answer: {calibration.answer} is no head of this network; its heads are {', '.join(heads)}")
    for name, head in calibration.heads.items():
        if name not in heads:
            raise UserError(f"calibration.heads.{name}: no head of this network; its heads are {', '.join(heads)}")
        if len(head.log_prior) not in (0, HEAD_CLASSES[name]):
            count = f"needs {HEAD_CLASSES[name]} numbers, got {len(head.log_prior)}"
            raise UserError(f"calibration.heads.{name}.log_prior: {count}")
