"""Fitting the attribute probe on features whose meaning the test knows, and the figures made of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from configs.cli import UserError
from encoder.attributes.assessment import assess_attributes, format_figures, format_shares, shares
from encoder.attributes.fit import FOLDS, best_thresholds, calibration, fit_logistic, fit_probe, fold_of
from encoder.attributes.labels import ATTRIBUTES
from encoder.drawing.faces import drawn_set

FACES, WIDTH = 160, 12


def told(rng: np.random.Generator, noise: float = 0.3) -> tuple[torch.Tensor, np.ndarray]:
    """Features of which the first five each tell one attribute, off from it by ``noise``, on scales of their own."""
    labels = rng.random((FACES, len(ATTRIBUTES))) < 0.3
    features = rng.normal(size=(FACES, WIDTH))
    features[:, : len(ATTRIBUTES)] = labels + noise * features[:, : len(ATTRIBUTES)]
    return torch.from_numpy(features * 10 ** rng.uniform(-2, 2, WIDTH) + 5).float(), labels


def test_the_features_that_tell_are_chosen_and_the_probe_answers_for_new_faces(rng: np.random.Generator) -> None:
    x, labels = told(rng)
    fitted = fit_probe({"noise": torch.from_numpy(rng.normal(size=(FACES, 40))).float(), "telling": x}, labels)
    assert fitted.features == "telling"
    assert fitted.areas["telling"].min() > 0.9 > fitted.areas["noise"].max()
    said = torch.sigmoid(x @ fitted.weight.T + fitted.bias).numpy()
    assert ((said >= 0.5) == labels).mean() > 0.9
    held_out = assess_attributes(labels, fitted.held_out, fitted.thresholds)
    assert min(row["balanced_accuracy"] for row in held_out.values()) > 0.85


def test_labels_that_nothing_tells_are_not_found_in_held_out_faces(rng: np.random.Generator) -> None:
    x, labels = told(rng)
    fitted = fit_probe({"telling": x}, labels[rng.permutation(FACES)])
    assert abs(fitted.areas["telling"].mean() - 0.5) < 0.15


def test_an_attribute_hardly_shown_is_refused_by_name(rng: np.random.Generator) -> None:
    x, labels = told(rng)
    labels[:, 2] = False
    labels[: FOLDS - 1, 2] = True
    with pytest.raises(UserError, match=f"{FOLDS - 1} of {FACES} training faces show unreal"):
        fit_probe({"telling": x}, labels)


def test_both_classes_weigh_the_same(rng: np.random.Generator) -> None:
    y = torch.from_numpy(rng.random((400, 1)) < 0.05).float()
    y[0] = 1.0
    weights = fit_logistic(torch.zeros(400, 3), y, torch.tensor([0.1]))
    torch.testing.assert_close(weights, torch.zeros(4, 1), atol=1e-4, rtol=0)


def test_a_larger_penalty_gives_smaller_weights_and_the_start_does_not_matter(rng: np.random.Generator) -> None:
    x, labels = told(rng)
    x, y = (x - x.mean(0)) / x.std(0), torch.from_numpy(labels).float()
    strong, weak = (fit_logistic(x, y, torch.full((len(ATTRIBUTES),), penalty)) for penalty in (1.0, 0.01))
    assert (strong[:-1].norm(dim=0) < weak[:-1].norm(dim=0)).all()
    again = fit_logistic(x, y, torch.full((len(ATTRIBUTES),), 0.01), start=strong)
    torch.testing.assert_close(again, weak, atol=2e-2, rtol=2e-2)


def test_folds_are_even_in_size_and_in_what_faces_show(rng: np.random.Generator) -> None:
    labels = rng.random((FACES, len(ATTRIBUTES))) < 0.3
    folds = fold_of(labels, seed=1)
    assert np.bincount(folds).tolist() == [FACES // FOLDS] * FOLDS
    shown = np.array([labels[folds == fold].sum(axis=0) for fold in range(FOLDS)])
    assert (shown.max(axis=0) - shown.min(axis=0) <= 6).all()
    assert (folds == fold_of(labels, seed=1)).all()
    assert (folds != fold_of(labels, seed=2)).any()


def test_calibrated_probabilities_are_as_frequent_as_they_say(rng: np.random.Generator) -> None:
    logits = rng.normal(0, 2, (4000, 2))
    labels = rng.random((4000, 2)) < 1 / (1 + np.exp(-(0.5 * logits - 1)))
    slope, shift = calibration(logits, labels)
    np.testing.assert_allclose(slope, 0.5, atol=0.1)
    np.testing.assert_allclose(shift, -1.0, atol=0.15)


def test_the_threshold_parts_what_can_be_parted() -> None:
    labels = np.array([[False], [False], [True], [True]])
    chosen = best_thresholds(np.array([[0.1], [0.31], [0.52], [0.9]]), labels)
    assert 0.31 < chosen[0] <= 0.52


def test_figures_by_hand() -> None:
    labels = np.zeros((8, len(ATTRIBUTES)), bool)
    labels[:4, 0] = True
    said = np.full((8, len(ATTRIBUTES)), 0.2)
    said[[0, 1, 2, 7], 0] = 0.9
    figures = assess_attributes(labels, said, np.full(len(ATTRIBUTES), 0.5))
    row = figures["object"]
    assert (row["accuracy"], row["balanced_accuracy"], row["precision"], row["recall"]) == (0.75, 0.75, 0.75, 0.75)
    assert row["area_under_curve"] == 0.75
    assert row["recall_interval"][0] < 0.75 < row["recall_interval"][1]
    assert figures["text"]["accuracy"] == 1.0
    assert figures["text"]["recall"] is None
    assert figures["text"]["area_under_curve"] is None
    text = format_figures(figures, 8, "eight faces")
    assert "eight faces: 8 faces" in text
    assert "0.750 (" in text
    assert "–" in text.splitlines()[3]


def test_shares_count_each_emotion_and_what_would_be_dropped() -> None:
    faces = drawn_set("train", 70, seed=0)
    shown = np.zeros((70, len(ATTRIBUTES)), bool)
    shown[:, 0] = faces.labels == 2
    shown[0, 1] = shown[0, 2] = shown[1, 2] = True
    table = shares(faces, shown)
    assert table["fear"]["object"] == 1.0
    assert table["anger"]["object"] == 0.0
    assert table["all"]["dropped"] == round(2 / 70, 4)
    assert sum(row["count"] for name, row in table.items() if name != "all") == 70
    assert "100.0%" in format_shares(table)
