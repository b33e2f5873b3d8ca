"""Where a changed face goes back to: regions, geometry, colours, and nothing outside."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from configs.cli import UserError
from encoder.config import CropConfig
from encoder.detection.align import Placement, crop_face, cut_square, face_square
from encoder.detection.face import DetectedFace
from generation.editing.place import place_of
from generation.editing.seam import blur, luma, paste, soft_mask
from generation.regions import EXPRESSION, parse_regions, region_boxes, token_mask
from vqvae.config import TokenizerConfig
from vqvae.quantizers.create import create_quantizer


@pytest.fixture
def picture(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(40, 215, (90, 120, 3), dtype=np.uint8)


def tilted(degrees: float) -> DetectedFace:
    """A face of 40 pixels around (60, 45) whose eyes are turned."""
    angle = np.radians(degrees)
    across = 7.5 * np.array([np.cos(angle), np.sin(angle)])
    middle = np.array([60, 40])
    return DetectedFace((40, 25, 40, 40), landmarks=np.stack([middle - across, middle + across]).astype(np.float32))


@pytest.mark.parametrize("degrees", [0, 15, -20])
def test_a_point_of_the_picture_is_found_in_the_crop(degrees: float) -> None:
    picture = np.zeros((90, 120, 3), np.uint8)
    picture[48:51, 67:70] = 255
    face = tilted(degrees)
    crop = luma(crop_face(picture, face, 64))
    rows, columns = np.mgrid[:64, :64] + 0.5
    seen = np.array([(columns * crop).sum(), (rows * crop).sum()]) / crop.sum() / 64
    place = face_square(face)
    assert place.to_crop(np.array([[68.5, 49.5]]))[0] == pytest.approx(seen, abs=0.02)


@pytest.mark.parametrize("degrees", [0, 15, -20])
def test_a_change_lands_where_it_was_seen(degrees: float) -> None:
    picture = np.full((90, 120, 3), 100, np.uint8)
    place = face_square(tilted(degrees))
    before = np.full((64, 64), 100, np.float32)
    after = before.copy()
    after[38:44, 40:46] += 80
    changed = luma(paste(picture, place, before, before, after, np.ones((64, 64), np.float32))) - 100
    peak = np.unravel_index(changed.argmax(), changed.shape)
    assert place.to_crop(np.array([[peak[1] + 0.5, peak[0] + 0.5]]))[0] * 64 == pytest.approx([43, 41], abs=2.5)


@pytest.mark.parametrize("shape", [(64, 64), (64, 64, 3)])
def test_what_did_not_change_stays_as_it_was(picture: np.ndarray, shape: tuple[int, ...], rng: np.random.Generator) -> None:
    place = face_square(tilted(15))
    crop, made = rng.uniform(0, 255, (2, *shape)).astype(np.float32)
    same = paste(picture, place, crop, made, made, np.ones((64, 64), np.float32))
    assert np.abs(same.astype(int) - picture).max() <= 1


def test_only_the_region_changes_and_colours_move_together(picture: np.ndarray, rng: np.random.Generator) -> None:
    place = Placement(60, 45, 40, 0)
    tokens = np.zeros((8, 8), bool)
    tokens[5:8, 2:6] = True
    crop, before, after = rng.uniform(60, 190, (3, 64, 64)).astype(np.float32)
    moved = paste(picture, place, crop, before, after, soft_mask(tokens, 64)).astype(int) - picture
    assert np.abs(moved[46:62, 52:68]).mean() > 3
    assert not moved[:40].any()
    assert not moved[:, :40].any()
    assert not moved[65:].any()
    clipped = ((picture + moved) % 255 == 0).any(axis=2)
    assert np.ptp(moved[~clipped], axis=1).max() <= 1


def test_teeth_do_not_take_the_colour_of_the_lips_that_were_there() -> None:
    """Where structure changed colour is the model's; where it did not the photograph's, also if the model has another."""
    picture = np.full((90, 120, 3), (170, 130, 110), np.uint8)
    picture[50:54, 50:70] = (120, 40, 110)
    place = Placement(60, 45, 40, 0)
    crop = cut_square(picture, place, 64).astype(np.float32)
    lips = np.zeros((64, 64), bool)
    lips[40:47, 16:48] = True
    before = np.where(lips[..., None], np.float32((150, 60, 60)), np.float32((150, 150, 120)))
    after = before.copy()
    after[lips] = 230
    new = paste(picture, place, crop, before, after, np.ones((64, 64), np.float32)).astype(int)
    teeth, skin = new[52, 60], new[34, 60]
    assert teeth.sum() - picture[52, 60].sum() > 150
    assert np.ptp(teeth) < np.ptp(picture[52, 60].astype(int)) / 2
    assert np.abs(skin - picture[34, 60]).max() <= 3


def test_lighting_of_the_picture_survives_a_darker_model(picture: np.ndarray) -> None:
    place = Placement(60, 45, 40, 0)
    crop = luma(crop_face(picture, tilted(0), 64))
    before = blur(crop, 2.0)
    after = before - 50
    new = paste(picture, place, crop, before, after, np.ones((64, 64), np.float32))
    assert luma(new)[30:60, 45:75].mean() == pytest.approx(luma(picture)[30:60, 45:75].mean(), abs=4)


def test_the_mask_is_soft_and_ends_before_the_border() -> None:
    mask = soft_mask(np.ones((8, 8), bool), 64)
    assert mask[32, 32] == 1
    assert mask[0].max() < 0.2
    assert np.abs(np.diff(mask, axis=0)).max() < 0.35
    assert soft_mask(np.zeros((8, 8), bool), 64).max() == 0


def test_the_mask_lies_on_the_tokens_of_a_grid_that_does_not_divide_the_face() -> None:
    tokens = np.zeros((12, 12), bool)
    tokens[6:9, 3:9] = True
    rows, columns = np.nonzero(soft_mask(tokens, 64) > 0.8)
    assert (rows.min(), rows.max()) == pytest.approx((32, 47), abs=1)
    assert (columns.min(), columns.max()) == pytest.approx((16, 47), abs=1)


def test_a_blur_keeps_the_mean_and_spreads_by_its_width() -> None:
    dot = np.zeros((65, 65), np.float32)
    dot[32, 32] = 1
    spread, place = blur(dot, 4.0), np.arange(65) - 32
    assert spread.sum() == pytest.approx(1, abs=1e-5)
    assert np.sqrt((spread.sum(axis=0) * place**2).sum()) == pytest.approx(4, rel=0.03)
    assert blur(np.full((9, 9), 7, np.float32), 4.0) == pytest.approx(7)


def test_parts_of_a_face() -> None:
    mouth, eyes = (token_mask(region_boxes([name]), 8).view(8, 8) for name in ("mouth", "eyes"))
    assert mouth[6, 3]
    assert not mouth[:5].any()
    assert eyes[3, 2]
    assert not eyes[5:].any()
    assert token_mask(region_boxes(["all"]), 8).all()
    assert token_mask(region_boxes(EXPRESSION), 8).sum() < 48


def test_parts_follow_the_landmarks() -> None:
    points = np.full((68, 2), 0.5, np.float32)
    points[48:68] = np.random.default_rng(0).uniform((0.1, 0.5), (0.4, 0.6), (20, 2))
    mouth = token_mask(region_boxes(["mouth"], points), 8).view(8, 8)
    assert mouth[4, 1]
    assert not mouth[:, 6:].any()


def test_parts_move_to_the_eyes_and_mouth_that_were_found() -> None:
    usual = token_mask(region_boxes(["eyes"]), 8).view(8, 8)
    lower = token_mask(region_boxes(["eyes"], eyes=(0.5, 0.383 + 0.12)), 8).view(8, 8)
    assert torch.equal(lower[1:], usual[:-1])
    assert region_boxes(["mouth"], eyes=(0.5, 0.5)) == region_boxes(["mouth"])
    assert region_boxes(["mouth"], mouth=(0.5, 0.7)) != region_boxes(["mouth"])
    assert region_boxes(["eyes"], eyes=(9.0, 9.0)) == region_boxes(["eyes"], eyes=(0.625, 0.508))


def test_bad_regions_are_refused() -> None:
    with pytest.raises(UserError, match="did you mean 'mouth'"):
        parse_regions("moth,eyes")
    with pytest.raises(UserError, match="covers no part"):
        token_mask(((1.5, 1.5, 2.0, 2.0),), 8)


@pytest.mark.parametrize("name", ["ema", "plain", "simvq"])
def test_a_code_is_most_like_itself(name: str) -> None:
    config = TokenizerConfig(size=16, widths=(8, 16), codebook_size=8, code_dim=4, groups=2, quantizer=name)
    quantizer = create_quantizer(config)
    tokens = torch.randint(8, (5, 16, 2))
    likeness = quantizer.likeness(tokens)
    assert likeness.shape == (5, 16, 2, 8)
    assert likeness.max() <= 1 + 1e-5
    own = likeness.gather(-1, tokens.unsqueeze(-1))
    torch.testing.assert_close(own, torch.ones_like(own))


def aligned(side: int, *, shift: float = 0.0, tilt: float = 0.0, scale: float = 1.0) -> DetectedFace:
    """A face whose eyes lie where a crop has them, but for what is said."""
    crop, angle = CropConfig(), np.radians(tilt)
    across = scale * side * crop.eye_distance / 2 * np.array([np.cos(angle), np.sin(angle)])
    middle = np.array([side / 2 - 0.5 + shift, side * crop.eye_height - 0.5])
    return DetectedFace((0, 0, side, side), landmarks=np.stack([middle - across, middle + across]).astype(np.float32))


@pytest.mark.parametrize("face", [aligned(128), aligned(128, shift=4), aligned(128, tilt=5), aligned(128, scale=1.1)])
def test_an_aligned_face_is_worked_on_as_it_is(face: DetectedFace, rng: np.random.Generator) -> None:
    place = place_of(face, CropConfig(), (128, 128))
    assert place == Placement(63.5, 63.5, 128.0, 0.0)
    picture = rng.integers(0, 256, (128, 128, 3), dtype=np.uint8)
    assert np.array_equal(cut_square(picture, place, 128), picture)


@pytest.mark.parametrize(
    ("face", "shape"),
    [
        (aligned(128, shift=20), (128, 128)),
        (aligned(128, tilt=15), (128, 128)),
        (aligned(128, scale=0.6), (128, 128)),
        (aligned(128), (128, 140)),
    ],
)
def test_another_face_is_cut_out(face: DetectedFace, shape: tuple[int, int]) -> None:
    assert place_of(face, CropConfig(), shape) == face_square(face, CropConfig())
    assert place_of(face, None, (128, 128)) == face_square(face)


@pytest.mark.parametrize("place", [Placement(10, 90, 60, 0), Placement(60, 45, 500, 0), Placement(118, 2, 40, 30)])
def test_a_square_inside_has_no_border_in_it(place: Placement) -> None:
    inside = place.inside(120, 90)
    corners = np.array([(x, y) for x in (0.0, 1.0) for y in (0.0, 1.0)]) - 0.5
    cos, sin = np.cos(np.radians(inside.tilt)), np.sin(np.radians(inside.tilt))
    found = corners * inside.side @ np.array([[cos, sin], [-sin, cos]]) + [inside.x, inside.y]
    assert (found >= -0.5 - 1e-9).all()
    assert (found <= np.array([119.5, 89.5]) + 1e-9).all()
    assert inside.tilt == place.tilt
    fits = Placement(60, 45, 20, 10)
    assert fits.inside(120, 90) == fits


def test_what_was_cut_out_by_a_convention_lies_on_its_own_pixels(rng: np.random.Generator) -> None:
    """Half a pixel beside them old detail would stand beside the new."""
    picture = np.repeat(blur(rng.uniform(0, 255, (90, 120)).astype(np.float32), 2)[..., None], 3, axis=2).round().astype(np.uint8)
    place = Placement(60.3, 44.6, 50, 12)
    crop = luma(cut_square(picture, place, 64))
    on_pixels = Placement(place.x + 0.5, place.y + 0.5, place.side, place.tilt)
    beside = luma(paste(picture, place, crop, crop, crop + 60 * (crop > crop.mean()), np.ones((64, 64), np.float32)))
    there = luma(paste(picture, on_pixels, crop, crop, crop + 60 * (crop > crop.mean()), np.ones((64, 64), np.float32)))
    own = luma(picture) > crop.mean()
    inside = np.zeros_like(own)
    inside[32:58, 48:73] = True

    def agreement(after: np.ndarray) -> float:
        return float(np.corrcoef((after - luma(picture))[inside], own[inside])[0, 1])

    assert agreement(there) > agreement(beside)
