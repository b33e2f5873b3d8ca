"""The small network that tells the recorded gender of a face."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from encoder.people.gender_config import GenderModelConfig


class GenderNet(nn.Module):
    """Two 3x3 convolutions a stage, the first of all with stride 2, max pooling between stages, one linear layer."""

    def __init__(self, config: GenderModelConfig) -> None:
        super().__init__()
        self.config = config
        layers: list[nn.Module] = []
        inputs = 1
        for stage, width in enumerate(config.widths):
            if stage:
                layers.append(nn.MaxPool2d(2))
            for stride in (2 if stage == 0 else 1, 1):
                layers += [nn.Conv2d(inputs, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
                inputs = width
        self.features = nn.Sequential(*layers)
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(inputs, 2)

    def forward(self, faces: Tensor) -> Tensor:
        """(N, 1, S, S) normalised faces to (N, 2) float32 logits of (female, male)."""
        pooled = F.adaptive_avg_pool2d(self.features(faces), 1).flatten(1)
        return self.head(self.dropout(pooled)).float()
