"""Post-hoc correction of a head: prior correction (logit adjustment), then temperature scaling.

Training on lopsided data teaches a network the class frequencies along with the faces. Subtracting ``tau`` times the
log frequencies takes them out again (Menon et al., 2021, eq. 9); since that breaks calibration, the temperature (Guo et
al., 2017) is fitted afterwards. Both are chosen on the validation split.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from configs.cli import UserError
from encoder.config import CalibrationConfig, HeadCalibration
from encoder.data.face_set import FaceSet, head_labels
from encoder.evaluation.metrics import accuracy, balanced_accuracy, confusion_matrix, negative_log_likelihood
from encoder.fitting.rebalancing import class_frequencies
from encoder.inference.emotion_encoder import EmotionEncoder
from encoder.inference.views import averaged_logits

# Share of correct answers that prior correction may cost on valid.
ACCURACY_COST = 0.01


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

    Full prior correction would trade many common faces for a few rare ones, and turn the referee lenient about exactly the
    rare emotions. Takes (N, C) ``logits`` and (N,) ``labels`` of validation faces and (C,) class frequencies of the
    *training* split, positive; of ``taus``, ``(0.0,)`` leaves the frequencies in.
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


# Below zero: a network that was trained for balanced classes may owe the common ones something.
TAUS = tuple(round(0.1 * step, 1) for step in range(-5, 11))


def calibrate(encoder: EmotionEncoder, train: FaceSet, valid: FaceSet, taus: tuple[float, ...] = TAUS) -> CalibrationConfig:
    """Prior correction (one of ``taus``, by the class frequencies of ``train``) and temperature of every head.

    Fitted on ``valid``, see :func:`encoder.fitting.calibration.fit_calibration`.
    """
    heads: dict[str, HeadCalibration] = {}
    for head, logits in averaged_logits(encoder, valid).items():
        labels = head_labels(valid, head)
        known = labels >= 0
        if not known.any():
            raise UserError(f"calibration of head {head}: no face of the valid split has a label for it")
        heads[head] = fit_calibration(logits[known], labels[known], class_frequencies(train, head), taus)
    answer = "ferplus" if "ferplus" in heads else "fer2013"
    return CalibrationConfig(answer=answer, heads=heads)
