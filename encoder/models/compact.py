"""The project's own small networks: residual and plain."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from encoder.config import ModelConfig
from encoder.models.emotion_net import EmotionNet, register_model


class _SqueezeExcite(nn.Module):
    """Channel attention (Hu et al., 2018)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(width, max(width // 8, 8), 1)
        self.expand = nn.Conv2d(max(width // 8, 8), width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.expand(F.relu(self.reduce(x.mean(dim=(2, 3), keepdim=True)))))


class _ResidualBlock(nn.Module):
    """Two 3x3 convolutions with squeeze-and-excitation and a shortcut (He et al., 2016)."""

    # For :mod:`encoder.inference.folded`, which sees what a module holds and not what its forward does.
    norm_after: ClassVar = {"conv1": "norm1", "conv2": "norm2"}

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.attend = _SqueezeExcite(outputs)
        # A zero gain makes every block start as its shortcut, which lets a deep stack train at a high rate.
        nn.init.zeros_(self.norm2.weight)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.AvgPool2d(stride) if stride != 1 else nn.Identity(),
                nn.Conv2d(inputs, outputs, 1, bias=False),
                nn.BatchNorm2d(outputs),
            )

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.attend(self.norm2(self.conv2(y))) + self.shortcut(x))


@register_model("resnet", sized=True)
def _resnet(config: ModelConfig) -> EmotionNet:
    """Compact residual network; the stem halves the image, each further stage halves it again."""
    stem = config.widths[0] // 2
    stages: list[nn.Module] = []
    inputs = config.widths[0]
    for index, (width, depth) in enumerate(zip(config.widths, config.depths, strict=True)):
        blocks: list[nn.Module] = []
        if index == 0:
            blocks += [nn.Conv2d(1, stem, 3, 1, 1, bias=False), nn.BatchNorm2d(stem), nn.ReLU()]
            blocks += [nn.Conv2d(stem, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        for block in range(depth):
            blocks.append(_ResidualBlock(inputs, width, 2 if index and block == 0 else 1))
            inputs = width
        stages.append(nn.Sequential(*blocks))
    return EmotionNet(config, stages, inputs)


@register_model("plain", sized=True)
def _plain(config: ModelConfig) -> EmotionNet:
    """Plain (not residual) stack of 3x3 convolutions with max pooling and ELU, in the manner of VGG.

    Deliberately unlike ``resnet`` in shortcuts, attention, activation and pooling: two judges that share an architecture
    share its blind spots (Simonyan & Zisserman, 2015).
    """
    stages: list[nn.Module] = []
    inputs = 1
    for index, (width, depth) in enumerate(zip(config.widths, config.depths, strict=True)):
        blocks: list[nn.Module] = []
        for _ in range(depth):
            blocks += [nn.Conv2d(inputs, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ELU()]
            inputs = width
        if index < len(config.widths) - 1:
            blocks.append(nn.MaxPool2d(2))
        stages.append(nn.Sequential(*blocks))
    return EmotionNet(config, stages, inputs)
