"""Post-hoc correction of a head: prior correction (logit adjustment), then temperature scaling.

Training on lopsided data teaches a network the class frequencies along with the faces. Subtracting ``tau`` times the
log frequencies takes them out again (Menon et al., 2021, eq. 9); since that breaks calibration, the temperature (Guo et
al., 2017) is fitted afterwards. Both are chosen on the validation split.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from encoder.config import HeadCalibration
from encoder.metrics import accuracy, balanced_accuracy, confusion_matrix, negative_log_likelihood

# Share of correct answers that prior correction may cost on valid.
ACCURACY_COST = 0.01


def calibrated_log_probabilities(logits: Tensor, calibration: HeadCalibration) -> Tensor:
    """``log softmax((logits - tau * log_prior) / temperature)`` over the last axis, any leading shape."""
    if calibration.tau and calibration.log_prior:
        prior = torch.tensor(calibration.log_prior, dtype=logits.dtype, device=logits.device)
        logits = logits - calibration.tau * prior
    return torch.log_softmax(logits / calibration.temperature, dim=-1)


def _softmax(logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def fit_calibration(
    logits: npt.NDArray[np.float64],
    labels: npt.NDArray[np.integer],
    prior: npt.NDArray[np.float64],
    taus: tuple[float, ...],
) -> HeadCalibration:
    """Choose ``tau`` as the highest macro recall that costs at most a point of accuracy, then the temperature.

    Full prior correction would trade many common faces for a few rare ones, and turn the referee lenient about exactly
    the rare emotions.

    Args:
        logits: (N, C) of the validation faces.
        labels: (N,) their classes.
        prior: (C,) class frequencies of the *training* split, positive.
        taus: values to try; ``(0.0,)`` leaves the frequencies in.
    """
    log_prior = np.log(prior / prior.sum())
    tables = {tau: confusion_matrix(labels, (logits - tau * log_prior).argmax(axis=1), len(prior)) for tau in taus}
    floor = max(accuracy(table) for table in tables.values()) - ACCURACY_COST
    allowed = [tau for tau, table in tables.items() if accuracy(table) >= floor]
    chosen = max(allowed, key=lambda tau: balanced_accuracy(tables[tau]))
    adjusted = logits - chosen * log_prior
    temperatures = np.exp(np.linspace(np.log(0.3), np.log(4.0), 120))
    losses = [negative_log_likelihood(labels, _softmax(adjusted / t)) for t in temperatures]
    return HeadCalibration(
        temperature=round(float(temperatures[int(np.argmin(losses))]), 4),
        tau=chosen,
        log_prior=tuple(round(float(value), 6) for value in log_prior),
    )
