"""One encoder out of several: the average of their weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from configs.cli import UserError
from encoder.inference.emotion_encoder import EmotionEncoder


def average(folders: Sequence[str | Path], shares: Sequence[float] | None = None) -> EmotionEncoder:
    """The weighted mean of the weights in ``folders``; input convention and calibration are those of the last.

    Makes sense for trainings that went on from one another, which lie in one basin of the loss (Wortsman et al., 2022).

    Args:
        shares: of each folder, in any unit; None: all alike.

    Raises:
        UserError: a folder cannot be loaded, networks of different shape, or shares that are not positive, one a folder.
    """
    weights = [1.0] * len(folders) if shares is None else list(shares)
    if len(weights) != len(folders) or not all(weight > 0 for weight in weights):
        raise UserError(f"--shares: need {len(folders)} positive numbers, one for each folder of weights, got {weights}")
    encoders = [EmotionEncoder.from_pretrained(folder) for folder in folders]
    result = encoders[-1]
    for folder, encoder in zip(folders, encoders, strict=True):
        if encoder.net.config != result.net.config:
            raise UserError(f"--average: {folder} holds another network than {folders[-1]}; only like ones have an average")
    states = [encoder.net.state_dict() for encoder in encoders]
    mean = {
        name: sum(weight * state[name].double() for weight, state in zip(weights, states, strict=True)) / sum(weights)
        for name in states[-1]
    }
    with torch.no_grad():
        result.net.load_state_dict({name: value.to(states[-1][name].dtype) for name, value in mean.items()})
    return result
