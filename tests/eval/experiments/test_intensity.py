"""The measure of rising intensity: ranks on cases whose answer is known, and the whole program on tiny weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eval import intensity
from eval.experiments.intensity import rise, spearman

LEVELS = [0.0, 0.25, 0.5, 0.75, 1.0]


def test_rank_correlation_of_known_cases() -> None:
    assert spearman([1, 2, 3, 4], [1, 8, 27, 64]) == pytest.approx(1)
    assert spearman([1, 2, 3, 4], [4, 3, 2, 1]) == pytest.approx(-1)
    # 1 - 6 * (1 + 1) / (5 * 24)
    assert spearman([1, 2, 3, 4, 5], [2, 1, 3, 4, 5]) == pytest.approx(0.9)
    # Ties share their mean rank: Pearson's correlation of (0, 1, 2) and (0.5, 0.5, 2).
    assert spearman([1, 2, 3], [7, 7, 9]) == pytest.approx(np.corrcoef([0, 1, 2], [0.5, 0.5, 2])[0, 1])
    assert spearman([1, 2, 3], [5, 5, 5]) == 0
    with pytest.raises(ValueError, match="match exactly"):
        spearman([1, 2], [1, 2, 3])


def test_a_steady_rise_has_no_fall(rng: np.random.Generator) -> None:
    readings = np.linspace(0.1, 0.9, 5)[:, None] + rng.uniform(0, 0.05, (1, 20))
    found = rise(readings, LEVELS)
    assert found["spearman_of_means"] == found["spearman_within_seed"] == 1
    assert found["falls"] == found["largest_fall"] == 0
    assert all(low <= mean <= high for mean, (low, high) in zip(found["mean"], found["interval"], strict=True))


def test_a_fall_is_counted_and_measured() -> None:
    readings = np.repeat([[0.1], [0.4], [0.3], [0.8], [0.9]], 4, axis=1)
    found = rise(readings, LEVELS)
    assert found["falls"] == 1
    assert found["largest_fall"] == pytest.approx(0.1)
    assert found["spearman_of_means"] == pytest.approx(0.9)


@pytest.mark.parametrize("identity", [True, False])
def test_the_program_writes_figures_plot_and_sheet(places: list[str], tmp_path: Path, identity: bool) -> None:
    sheet = tmp_path / "sheets" / "sheet.png"
    options = ["--count", "3", "--levels", "3", "--steps", "2", "--emotions", "joie,fear", "--seed", "7"]
    assert intensity.main([*options, *places, "--sheet", str(sheet), *(["--identity"] if identity else [])]) == 0
    report = json.loads((tmp_path / "intensity.json").read_text())
    assert (report["count"], report["seed"], report["levels"]) == (3, 7, [0, 0.5, 1])
    assert report["settings"]["identity"] is identity
    assert report["settings"]["steps"] == 2
    assert set(report["emotions"]) == {"happiness", "fear"}
    for judges in report["emotions"].values():
        # Both judges are the same network here.
        assert judges["encoder"]["mean"] == pytest.approx(judges["judge"]["mean"], abs=1e-3)
    with Image.open(tmp_path / "intensity.png") as plot:
        assert plot.width > 400
    with Image.open(sheet) as picture:
        assert picture.text["AI-generated"] == "true"
