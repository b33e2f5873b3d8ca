"""Post-hoc correction of a head: prior correction (logit adjustment), then temperature scaling.

Training on lopsided data teaches a network the class frequencies along with the faces. Subtracting ``tau`` times the
log frequencies takes them out again (Menon et al., 2021, eq. 9); since that breaks calibration, the temperature (Guo et
al., 2017) is fitted afterwards. Both are chosen on the validation split.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from encoder.config import HeadCalibration
from encoder.metrics import accuracy, balanced_accuracy, confusion_matrix, negative_log_likelihood


def calibrated_log_probabilities(logits: Tensor, calibration: HeadCalibration) -> Tensor:
    """``log softmax((logits - tau * log_prior) / temperature)`` over the last axis, any leading shape."""
    if calibration.tau and calibration.log_prior:
        prior = torch.tensor(calibration.log_prior, dtype=logits.dtype, device=logits.device)
        logits = logits - calibration.tau * prior
    return torch.log_softmax(logits / calibration.temperature, dim=-1)


@dataclass(frozen=True)
class _Candidate:
    tau: float
    score: float


def _softmax(logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def fit_calibration(
    logits: npt.NDArray[np.float64],
    labels: npt.NDArray[np.integer],
    prior: npt.NDArray[np.float64],
    taus: tuple[float, ...],
) -> HeadCalibration:
    """Choose ``tau`` by accuracy + macro recall, then the temperature by likelihood.

    Args:
        logits: (N, C) of the validation faces.
        labels: (N,) their classes.
        prior: (C,) class frequencies of the *training* split, positive.
        taus: values to try; ``(0.0,)`` leaves the frequencies in.
    """
    log_prior = np.log(prior / prior.sum())
    classes = len(prior)

    def score(tau: float) -> float:
        table = confusion_matrix(labels, (logits - tau * log_prior).argmax(axis=1), classes)
        return accuracy(table) + balanced_accuracy(table)

    best = max((_Candidate(tau, score(tau)) for tau in taus), key=lambda candidate: candidate.score)
    adjusted = logits - best.tau * log_prior
    temperatures = np.exp(np.linspace(np.log(0.3), np.log(4.0), 120))
    losses = [negative_log_likelihood(labels, _softmax(adjusted / t)) for t in temperatures]
    return HeadCalibration(
        temperature=round(float(temperatures[int(np.argmin(losses))]), 4),
        tau=best.tau,
        log_prior=tuple(round(float(value), 6) for value in log_prior),
    )
