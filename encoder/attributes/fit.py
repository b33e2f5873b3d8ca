"""Fitting of the attribute probe: logistic regressions whose features and penalties cross-validation chooses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from configs.cli import UserError
from encoder.attributes.labels import ATTRIBUTES
from encoder.evaluation.metrics import area_under_curve

# Strongest first: each fit starts from the one before.
PENALTIES = (0.01, 0.003, 0.001, 0.0003, 0.0001, 0.00003)
FOLDS = 5
_THRESHOLDS = np.round(np.arange(0.05, 0.96, 0.01), 2)


class Fitted(NamedTuple):
    """Weights on features as they are, and what they rest on.

    Attributes:
        features: the name of the chosen features.
        weight: (A, D) and ``bias`` (A,): logits of calibrated probabilities.
        penalties: (A,) chosen.
        held_out: (N, A) probabilities of each training face by regressions that did not see it.
        thresholds: (A,) of the best F1 of ``held_out``.
        areas: by name of features, (A,) areas under the curve of held-out faces with the best penalties.
    """

    features: str
    weight: Tensor
    bias: Tensor
    penalties: tuple[float, ...]
    held_out: NDArray[np.float64]
    thresholds: NDArray[np.float64]
    areas: dict[str, NDArray[np.float64]]


def fit_logistic(x: Tensor, y: Tensor, penalty: Tensor, start: Tensor | None = None) -> Tensor:
    """(D + 1, A) weights, the bias last, of A logistic regressions: both classes weigh the same, ``penalty`` (A,) times half
    the squared weights (not the bias) is added. Takes (N, D) and (N, A) 0 or 1, every column with both.
    """
    positives = y.sum(dim=0)
    share = torch.where(y > 0, 0.5 / positives, 0.5 / (len(y) - positives))
    padded = torch.cat([x, torch.ones(len(x), 1)], dim=1)
    weights = torch.zeros(padded.shape[1], y.shape[1]) if start is None else start.clone()
    weights.requires_grad_(True)
    search = torch.optim.LBFGS([weights], max_iter=100, tolerance_change=1e-7, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        search.zero_grad()
        errors = F.binary_cross_entropy_with_logits(padded @ weights, y, reduction="none")
        total = (share * errors).sum() + (0.5 * penalty * weights[:-1].square()).sum()
        total.backward()
        return total

    search.step(loss)
    return weights.detach()


def fold_of(labels: NDArray[np.bool_], seed: int) -> NDArray[np.int64]:
    """(N,) the fold of each face: every combination of attributes is spread evenly over the folds."""
    combination = labels @ (1 << np.arange(labels.shape[1]))
    order = np.random.default_rng(seed).permutation(len(labels))
    order = order[np.argsort(combination[order], kind="stable")]
    folds = np.empty(len(labels), np.int64)
    folds[order] = np.arange(len(labels)) % FOLDS
    return folds


def held_out_logits(x: Tensor, labels: NDArray[np.bool_], seed: int) -> NDArray[np.float64]:
    """(penalties, N, A) logits of each face by regressions of the other folds, for every one of ``PENALTIES``."""
    folds, y = fold_of(labels, seed), torch.from_numpy(labels).float()
    logits = torch.zeros(len(PENALTIES), *labels.shape)
    for fold in range(FOLDS):
        inside, outside = torch.from_numpy(folds != fold), torch.from_numpy(folds == fold)
        mean, deviation = _scale(x[inside])
        near, far = (x[inside] - mean) / deviation, (x[outside] - mean) / deviation
        weights = None
        for index, penalty in enumerate(PENALTIES):
            weights = fit_logistic(near, y[inside], torch.full((labels.shape[1],), penalty), weights)
            logits[index, outside] = far @ weights[:-1] + weights[-1]
    return logits.double().numpy()


def _scale(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean, and deviation times the root of the width: rows then have length 1, and penalties mean the same for any width."""
    deviation = x.std(dim=0)
    # A channel that hardly moves would be blown up.
    return x.mean(dim=0), (deviation + 1e-3 * deviation.mean() + 1e-6) * x.shape[1] ** 0.5


def fit_probe(features: Mapping[str, Tensor], labels: NDArray[np.bool_], seed: int = 0) -> Fitted:
    """Choose features and penalties by the area under the curve of held-out faces, then fit on all faces.

    Args:
        features: by name, (N, D) of the training faces.
        labels: (N, A) what they show.
        seed: of the folds.

    Raises:
        UserError: an attribute that fewer than ``FOLDS`` faces show, or lack.
    """
    counts = labels.sum(axis=0)
    for name, count in zip(ATTRIBUTES, counts, strict=True):
        if not FOLDS <= count <= len(labels) - FOLDS:
            raise UserError(f"labels: {count} of {len(labels)} training faces show {name}; at least {FOLDS} must, and not")
    areas: dict[str, NDArray[np.float64]] = {}
    logits: dict[str, NDArray[np.float64]] = {}
    for name, x in features.items():
        logits[name] = held_out_logits(x, labels, seed)
        areas[name] = np.array([_areas(labels, each) for each in logits[name]])
    best = max(features, key=lambda name: float(areas[name].max(axis=0).mean()))
    chosen = areas[best].argmax(axis=0)
    outside = np.stack([logits[best][penalty, :, column] for column, penalty in enumerate(chosen)], axis=1)
    penalties = tuple(PENALTIES[index] for index in chosen)
    x, y = features[best], torch.from_numpy(labels).float()
    mean, deviation = _scale(x)
    weights = fit_logistic((x - mean) / deviation, y, torch.tensor(penalties))
    slope, shift = calibration(outside, labels)
    weight = weights[:-1] / deviation[:, None]
    bias = weights[-1] - mean @ weight
    held_out = 1.0 / (1.0 + np.exp(-(outside * slope + shift)))
    return Fitted(
        features=best,
        weight=(weight * torch.from_numpy(slope).float()).T.contiguous(),
        bias=bias * torch.from_numpy(slope).float() + torch.from_numpy(shift).float(),
        penalties=penalties,
        held_out=held_out,
        thresholds=best_thresholds(held_out, labels),
        areas={name: each.max(axis=0) for name, each in areas.items()},
    )


def _areas(labels: NDArray[np.bool_], scores: NDArray[np.float64]) -> list[float]:
    return [area_under_curve(labels[:, column], scores[:, column]) for column in range(labels.shape[1])]


def calibration(logits: NDArray[np.float64], labels: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Slope and shift (A,) by which held-out logits become those of probabilities (Platt, 1999).

    Both classes weighed the same in the fit; here each face does. Faces that were chosen for what a probe said of them do no
    harm: the choice looked at the face, as the probability does.
    """
    slope = torch.ones(labels.shape[1], dtype=torch.float64, requires_grad=True)
    shift = torch.zeros(labels.shape[1], dtype=torch.float64, requires_grad=True)
    x, y = torch.from_numpy(logits), torch.from_numpy(labels).double()
    search = torch.optim.LBFGS([slope, shift], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        search.zero_grad()
        # A slope near 1 is expected: where the classes part wholly, it must stay finite.
        total = F.binary_cross_entropy_with_logits(x * slope + shift, y) + (slope - 1).square().sum() / len(x)
        total.backward()
        return total

    search.step(loss)
    return slope.detach().numpy(), shift.detach().numpy()


def best_thresholds(probabilities: NDArray[np.float64], labels: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(A,) thresholds of the best F1."""
    shown = probabilities[None] >= _THRESHOLDS[:, None, None]
    hits = (shown & labels).sum(axis=1)
    f1 = 2 * hits / np.maximum(shown.sum(axis=1) + labels.sum(axis=0), 1)
    return _THRESHOLDS[f1.argmax(axis=0)]


def areas_text(fitted: Fitted, names: Sequence[str] = ATTRIBUTES) -> str:
    """One line for each kind of features: the areas under the curve by which they were chosen."""
    lines = []
    for kind, areas in fitted.areas.items():
        row = "  ".join(f"{name} {area:.3f}" for name, area in zip(names, areas, strict=True))
        lines.append(f"  {kind:<10}{row}{'   <- chosen' if kind == fitted.features else ''}")
    return "\n".join(lines)
