"""Distances between sets of features, on cases whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from eval.measures.distances import bootstrap, density_and_coverage, frechet_distance, kernel_distance, mean_pairwise_distance


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def test_a_set_has_no_distance_to_itself(rng: np.random.Generator) -> None:
    a = rng.normal(size=(300, 6))
    assert frechet_distance(a, a) == pytest.approx(0.0, abs=1e-9)
    assert kernel_distance(a, a) < 0.0


def test_a_shift_counts_by_its_square(rng: np.random.Generator) -> None:
    a = rng.normal(size=(400, 5))
    assert frechet_distance(a, a + np.array([3.0, 0, 0, 0, 4.0])) == pytest.approx(25.0)


def test_two_gaussians_as_the_formula_says(rng: np.random.Generator) -> None:
    a, b = rng.normal(size=(60_000, 2)), rng.normal(size=(60_000, 2)) * [2.0, 3.0]
    # Independent axes: (1 - 2)^2 + (1 - 3)^2.
    assert frechet_distance(a, b) == pytest.approx(5.0, rel=0.03)


def test_kernel_distance_is_zero_on_average_for_one_source(rng: np.random.Generator) -> None:
    values = [kernel_distance(rng.normal(size=(100, 4)), rng.normal(size=(80, 4))) for _ in range(60)]
    assert abs(np.mean(values)) < 3.0 * np.std(values) / np.sqrt(60)
    assert kernel_distance(rng.normal(size=(100, 4)), 1.0 + rng.normal(size=(100, 4))) > 5.0 * np.std(values)


def test_density_and_coverage_of_one_source(rng: np.random.Generator) -> None:
    density, coverage = density_and_coverage(rng.normal(size=(1500, 16)), rng.normal(size=(1500, 16)))
    assert density == pytest.approx(1.0, abs=0.08)
    assert coverage == pytest.approx(0.97, abs=0.02)


def test_repeating_one_face_is_dense_but_covers_nothing(rng: np.random.Generator) -> None:
    real = rng.normal(size=(500, 8))
    made = np.repeat(real.mean(axis=0, keepdims=True), 500, axis=0)
    density, coverage = density_and_coverage(real, made)
    assert coverage < 0.5
    assert density > coverage
    assert mean_pairwise_distance(made) == pytest.approx(0.0, abs=1e-6)


def test_faces_from_elsewhere_cover_nothing(rng: np.random.Generator) -> None:
    assert density_and_coverage(rng.normal(size=(200, 8)), 50.0 + rng.normal(size=(200, 8))) == (0.0, 0.0)


def test_mean_distance_of_known_points() -> None:
    assert mean_pairwise_distance(np.array([[0.0, 0.0], [3.0, 4.0], [0.0, 0.0]])) == pytest.approx(10.0 / 3.0)


def test_bootstrap_holds_the_mean_and_is_repeatable(rng: np.random.Generator) -> None:
    values = rng.normal(loc=2.0, size=400)
    low, high = bootstrap(lambda rows: float(values[rows].mean()), 400)
    assert low < values.mean() < high
    assert high - low == pytest.approx(2 * 1.96 / 20, rel=0.3)
    assert (low, high) == bootstrap(lambda rows: float(values[rows].mean()), 400)


@pytest.mark.parametrize("shape", [(1, 4), (4,)])
def test_too_little_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="at least two faces"):
        frechet_distance(np.zeros(shape), np.zeros((5, 4)))
    with pytest.raises(ValueError, match="neighbours"):
        density_and_coverage(np.zeros((5, 2)), np.zeros((9, 2)))


def test_both_distances_are_those_of_torchmetrics(rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("torchmetrics", reason="torchmetrics is not installed (extra eval)")
    from torchmetrics.image.fid import FrechetInceptionDistance
    from torchmetrics.image.kid import KernelInceptionDistance

    class Rows(torch.nn.Module):  # type: ignore[misc, name-defined]
        num_features = 8

        def forward(self, x: object) -> object:
            return x

    a, b = rng.normal(size=(200, 8)), 0.5 + 1.3 * rng.normal(size=(200, 8))
    frechet = FrechetInceptionDistance(feature=Rows(), input_img_size=(8,), normalize=False)
    kernel = KernelInceptionDistance(feature=Rows(), subsets=1, subset_size=200)
    for metric in (frechet, kernel):
        metric.update(torch.from_numpy(a), real=True)
        metric.update(torch.from_numpy(b), real=False)
    assert frechet_distance(a, b) == pytest.approx(float(frechet.compute()), rel=1e-3)
    assert kernel_distance(a, b) == pytest.approx(float(kernel.compute()[0]), rel=1e-3)
