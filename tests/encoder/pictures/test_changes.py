"""Small changes of a face: where its content goes."""

from collections.abc import Callable

import numpy as np
import pytest

from encoder.pictures.changes import CHANGE_TITLES, CHANGES, halved, moved, stored_as_jpeg


def spot(side: int, x: float, y: float, width: float = 3.0) -> np.ndarray:
    """A soft bright spot at (x, y), in pixels from the corner of the picture."""
    along = np.arange(side) + 0.5
    heights = np.exp(-((along[None] - x) ** 2 + (along[:, None] - y) ** 2) / (2 * width**2))
    return (20 + 200 * heights).astype(np.uint8)


def place(face: np.ndarray) -> tuple[float, float]:
    """Where the spot is."""
    weight = (face.astype(float) - 20).clip(min=5) - 5
    along = np.arange(len(face)) + 0.5
    return float((weight.sum(axis=0) * along).sum() / weight.sum()), float((weight.sum(axis=1) * along).sum() / weight.sum())


@pytest.mark.parametrize(
    ("how", "x", "y"),
    [
        ({"right": 0.1}, 66, 40),
        ({"down": -0.05}, 56, 35),
        ({"larger": 0.25}, 50 + 1.25 * 6, 50 - 1.25 * 10),
        ({"larger": -0.2}, 50 + 0.8 * 6, 50 - 0.8 * 10),
        # Clockwise by a quarter: what was above the middle is to its right, what was right is below.
        ({"turned": 90.0}, 60, 56),
        ({"turned": 10.0}, 50 + 6 * 0.98481 + 10 * 0.17365, 50 + 6 * 0.17365 - 10 * 0.98481),
    ],
)
def test_content_goes_where_it_is_sent(how: dict[str, float], x: float, y: float) -> None:
    assert place(moved(spot(100, 56, 40), **how)) == pytest.approx((x, y), abs=0.15)


def test_whole_pixels_stay_themselves_and_the_border_is_mirrored(rng: np.random.Generator) -> None:
    face = rng.integers(0, 256, (50, 50, 3), dtype=np.uint8)
    shifted = moved(face, right=0.08).astype(int)
    # Pillow cuts what it computes to whole numbers, so a level may be lost.
    assert np.abs(shifted[:, 4:] - face[:, :-4]).max() <= 1
    assert np.abs(shifted[:, :4] - face[:, 4:0:-1]).max() <= 1
    assert np.abs(moved(face).astype(int) - face).max() <= 1


def test_every_change_keeps_shape_and_changes_little(rng: np.random.Generator) -> None:
    assert CHANGES.keys() == CHANGE_TITLES.keys()
    smooth = spot(48, *rng.uniform(15, 33, 2), width=8)
    for face in (smooth, np.stack([smooth] * 3, axis=2)):
        for variants in CHANGES.values():
            results = [change(face) for change in variants]
            assert all(result.shape == face.shape and result.dtype == np.uint8 for result in results)
            assert all(np.abs(result.astype(int) - face).mean() < 25 for result in results)
            assert len({result.tobytes() for result in results}) == len(variants)


@pytest.mark.parametrize("change", [halved, stored_as_jpeg])
def test_fine_details_are_lost(change: Callable[[np.ndarray], np.ndarray], rng: np.random.Generator) -> None:
    grain = rng.integers(120, 137, (48, 48), dtype=np.uint8)
    after = change(grain)
    assert np.abs(np.diff(after.astype(int))).mean() < 0.8 * np.abs(np.diff(grain.astype(int))).mean()
    assert abs(after.mean() - grain.mean()) < 5


@pytest.mark.parametrize("side", [1, 5, 9])
def test_tiny_faces_are_changed_too(side: int) -> None:
    face = np.full((side, side), 90, np.uint8)
    for variants in CHANGES.values():
        for change in variants:
            assert np.abs(change(face).astype(int) - 90).max() <= 2
