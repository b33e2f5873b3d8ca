"""Networks of earlier systems, as their authors made them, each an :class:`encoder.models.emotion_net.EmotionNet`.

Each keeps its layers, its input size and its place of dropout. Pooling that follows the last convolution is part of the
neck, so that the last maps still have positions to look at.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from encoder.config import ModelConfig
from encoder.models.emotion_net import EmotionNet, register_model


@register_model("deepface", size=48)
def _deepface(config: ModelConfig) -> EmotionNet:
    """The emotion network of DeepFace (Serengil & Ozpinar, 2021): five unpadded convolutions, two dense layers of 1024.

    1,485,831 parameters with the one head of seven classes; 48x48 shrinks to a single position before the dense layers.
    Its authors drop 0.2 after each dense layer.
    """
    stages: list[nn.Module] = [
        nn.Sequential(nn.Conv2d(1, 64, 5), nn.ReLU()),
        nn.Sequential(nn.MaxPool2d(5, 2), nn.Conv2d(64, 64, 3), nn.ReLU(), nn.Conv2d(64, 64, 3), nn.ReLU()),
        nn.Sequential(nn.AvgPool2d(3, 2), nn.Conv2d(64, 128, 3), nn.ReLU(), nn.Conv2d(128, 128, 3), nn.ReLU()),
    ]
    neck = nn.Sequential(
        nn.AvgPool2d(3, 2),
        nn.Flatten(),
        nn.Linear(128, 1024),
        nn.ReLU(),
        nn.Dropout(config.dropout),
        nn.Linear(1024, 1024),
        nn.ReLU(),
    )
    return EmotionNet(config, stages, 1024, neck)


@register_model("conv4-100", size=100)
def _conv4_100(config: ModelConfig) -> EmotionNet:
    """Four convolutions, each followed by max pooling, and one dense layer, on 100x100 faces."""
    return _four_convolutions(config, (32, 64, 128, 128), size=100, dense=256)


@register_model("conv4-bn-128", size=128)
def _conv4_bn_128(config: ModelConfig) -> EmotionNet:
    """Four convolutions of 32, 64, 128 and 256 with batch norm and max pooling, one dense layer of 128, on 128x128."""
    return _four_convolutions(config, (32, 64, 128, 256), size=128, dense=128, norm=True)


def _four_convolutions(config: ModelConfig, widths: Sequence[int], *, size: int, dense: int, norm: bool = False) -> EmotionNet:
    stages: list[nn.Module] = []
    inputs = 1
    for index, width in enumerate(widths):
        layers: list[nn.Module] = [nn.MaxPool2d(2)] if index else []
        layers += [nn.Conv2d(inputs, width, 3, padding=1), *([nn.BatchNorm2d(width)] if norm else []), nn.ReLU()]
        stages.append(nn.Sequential(*layers))
        inputs = width
    flat = inputs * (size >> len(widths)) ** 2
    neck = nn.Sequential(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(flat, dense), nn.ReLU())
    return EmotionNet(config, stages, dense, neck)


@register_model("conv4-1024", size=48)
def _conv4_1024(config: ModelConfig) -> EmotionNet:
    """Unpadded convolutions of 32, 64, 128 and 128 and a dense layer of 1024, on 48x48: the network of many tutorials.

    Its authors drop half before the classes and half as much between the convolutions; ``dropout`` is the former.
    """
    drop = config.dropout / 2
    stages: list[nn.Module] = [
        nn.Sequential(nn.Conv2d(1, 32, 3), nn.ReLU()),
        nn.Sequential(nn.Conv2d(32, 64, 3), nn.ReLU()),
        nn.Sequential(nn.MaxPool2d(2), nn.Dropout(drop), nn.Conv2d(64, 128, 3), nn.ReLU()),
        nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(128, 128, 3), nn.ReLU()),
    ]
    neck = nn.Sequential(nn.MaxPool2d(2), nn.Dropout(drop), nn.Flatten(), nn.Linear(128 * 4 * 4, 1024), nn.ReLU())
    return EmotionNet(config, stages, 1024, neck)
