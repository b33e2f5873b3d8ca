"""Calibrated probabilities from logits, and eight classes folded into seven."""

from __future__ import annotations

import torch
from torch import Tensor

from encoder.config import HeadCalibration
from encoder.emotions import NUM_EMOTIONS


def calibrated_log_probabilities(logits: Tensor, calibration: HeadCalibration) -> Tensor:
    """``log softmax((logits - tau * log_prior) / temperature)`` over the last axis, any leading shape."""
    if calibration.tau and calibration.log_prior:
        prior = torch.tensor(calibration.log_prior, dtype=logits.dtype, device=logits.device)
        logits = logits - calibration.tau * prior
    return torch.log_softmax(logits / calibration.temperature, dim=-1)


def fold_to_seven(log_probabilities: Tensor) -> Tensor:
    """(…, 7 or 8) log-probabilities as (…, 7): contempt is left out and the rest renormalised."""
    return torch.log_softmax(log_probabilities[..., :NUM_EMOTIONS], dim=-1)
