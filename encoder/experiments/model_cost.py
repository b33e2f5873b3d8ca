"""What reading a face costs: parameters, multiply-adds, faces a second."""

from __future__ import annotations

import timeit
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from encoder.drawing.faces import load_or_draw
from encoder.landmarks.classifier import LandmarkClassifier, load_classifier
from encoder.landmarks.finding import with_landmarks
from encoder.models.emotion_net import EmotionNet
from engine.devices import resolve_device

_ROUNDS = 3
_TIMED_FACES, _LOOKED_AT = 256, 32


def multiply_adds(net: EmotionNet, size: int, channels: int = 1) -> int:
    """Of the convolutions and dense layers for one (size, size) face; norms, pooling and activations are left out."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        net(torch.zeros(1, channels, size, size, device=next(net.parameters()).device))
    return counter.get_total_flops() // 2


def cost_of(weights: Path, data: str, split: str, device: str) -> dict[str, Any]:
    """The columns of the table that ``weights`` cost: the best of three rounds, in the batches that suit the device.

    ``multiply_adds`` is None where a model does not multiply. Landmarks are searched for unless the faces bring theirs.
    """
    place = resolve_device(device)
    model = load_classifier(weights, place)
    on_landmarks = isinstance(model, LandmarkClassifier)
    size = model.size if isinstance(model, LandmarkClassifier) else model.preprocessing.size
    count = _LOOKED_AT if on_landmarks else _TIMED_FACES
    every = load_or_draw(data, "test" if data == "drawn" else split, count, size=size, on_error="skip")
    faces = every.subset(np.arange(min(count, len(every))))
    multiplied: int | None
    if isinstance(model, LandmarkClassifier):
        points: Any = with_landmarks(faces, None).landmarks
        seconds = _best_of(lambda: model.probabilities(points))
        seconds += 0.0 if faces.landmarks is not None else _best_of(lambda: with_landmarks(faces, None))
        parameters = model.parameters
        multiplied = sum(array.size for name, array in model.arrays.items() if name.startswith("weight")) or None
    else:
        seconds = _best_of(lambda: model.predict(faces.images, runtime="pytorch"))
        parameters = sum(parameter.numel() for parameter in model.net.parameters())
        multiplied = multiply_adds(model.net, size, 3 if model.preprocessing.normalisation == "imagenet" else 1)
    return {
        "parameters": parameters,
        "multiply_adds": multiplied,
        "faces_per_second": round(len(faces) / seconds, 1),
        "threads": torch.get_num_threads(),
        "device": "cpu" if on_landmarks else place.type,
    }


def _best_of(work: Callable[[], object]) -> float:
    """Seconds of the fastest round, after one that does not count."""
    return min(timeit.repeat(work, number=1, repeat=1 + _ROUNDS)[1:])
