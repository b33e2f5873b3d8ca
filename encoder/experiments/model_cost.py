"""What reading a face costs: parameters, multiply-adds, faces a second."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.flop_counter import FlopCounterMode

from encoder.inference.emotion_encoder import EmotionEncoder
from encoder.landmarks.classifier import LandmarkClassifier
from encoder.models.emotion_net import EmotionNet

_ROUNDS = 3


@dataclass(frozen=True)
class Cost:
    """``multiply_adds`` of one face, None where a model does not multiply; ``faces_per_second`` with ``threads``."""

    parameters: int
    multiply_adds: int | None
    faces_per_second: float
    threads: int


def multiply_adds(net: EmotionNet, size: int, channels: int = 1) -> int:
    """Of the convolutions and dense layers for one (size, size) face; norms, pooling and activations are left out."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        net(torch.zeros(1, channels, size, size, device=next(net.parameters()).device))
    return counter.get_total_flops() // 2


def cost_of_network(encoder: EmotionEncoder, faces: NDArray[np.uint8]) -> Cost:
    """Measured on (N, S, S) uint8 ``faces`` in the batches that suit the device; the best of three rounds."""
    preprocessing = encoder.preprocessing
    channels = 3 if preprocessing.normalisation == "imagenet" else 1
    rate = len(faces) / _best_of(lambda: encoder.predict(faces))
    parameters = sum(parameter.numel() for parameter in encoder.net.parameters())
    return Cost(parameters, multiply_adds(encoder.net, preprocessing.size, channels), rate, torch.get_num_threads())


def cost_of_landmark_model(model: LandmarkClassifier, landmarks: NDArray[np.floating], find: Callable[[], object] | None) -> Cost:
    """Measured on (N, 68, 2) ``landmarks``; ``find`` finds them in N faces, None where they are known without looking."""
    seconds = _best_of(lambda: model.probabilities(landmarks)) + (_best_of(find) if find is not None else 0.0)
    layers = [array.size for name, array in model.arrays.items() if name.startswith("weight")]
    return Cost(model.parameters, sum(layers) or None, len(landmarks) / seconds, torch.get_num_threads())


def _best_of(work: Callable[[], object]) -> float:
    """Seconds of the fastest round, after one that does not count."""
    rounds = []
    for _ in range(1 + _ROUNDS):
        started = time.perf_counter()
        work()
        rounds.append(time.perf_counter() - started)
    return min(rounds[1:])
