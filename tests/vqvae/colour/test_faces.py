"""From photographs on disk to batches that are half grey faces and half photographs."""

from __future__ import annotations

from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from configs.cli import UserError
from vqvae.colour import degradation, ycbcr
from vqvae.colour.batches import LOOKING, HalfAndHalf, PairBatches, changed, token_noise
from vqvae.colour.degradation import degrade, luma
from vqvae.colour.photographs import Photographs
from vqvae.faces import TrainingFaces


def test_luma_and_chroma_are_those_of_jpeg_and_give_the_colour_back(rng: np.random.Generator) -> None:
    pixels = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
    faces = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255.0
    theirs = np.asarray(Image.fromarray(pixels).convert("YCbCr")).astype(float) / 255.0
    y, cb_cr = ycbcr.luma(faces), ycbcr.chroma(faces)
    assert np.abs(y[0, 0].numpy() - theirs[..., 0]).max() < 0.01
    assert np.abs(cb_cr[0].permute(1, 2, 0).numpy() + 128 / 255 - theirs[..., 1:]).max() < 0.01
    torch.testing.assert_close(ycbcr.to_rgb(y, cb_cr), faces)
    assert np.abs(luma(pixels[None])[0] / 255.0 - theirs[..., 0]).max() < 0.01


def test_a_degraded_face_depends_on_its_numbers_alone(rng: np.random.Generator) -> None:
    face, u = rng.integers(0, 256, (128, 128), dtype=np.uint8), rng.random((20, degradation.NUM_UNIFORMS))
    first = [degrade(face, row, 64) for row in u]
    assert all(np.array_equal(degrade(face, row, 64), made) for row, made in zip(u, first, strict=True))
    assert {made.shape for made in first} == {(64, 64)}
    assert len({made.tobytes() for made in first}) == 20


def test_degrading_takes_detail_away_and_leaves_the_light(rng: np.random.Generator) -> None:
    checks = np.kron(np.indices((64, 64)).sum(axis=0) % 2, np.ones((2, 2))).astype(np.uint8) * 255
    flat = np.full((128, 128), 90, np.uint8)
    for u in rng.random((20, degradation.NUM_UNIFORMS)):
        assert degrade(checks, u, 64).std() < 0.5 * checks.std()
        assert abs(float(degrade(flat, u, 64).mean()) - 90) < 2


def test_photographs_are_decoded_when_asked_for_and_a_broken_one_is_named(photographs: Path) -> None:
    train = Photographs.open(photographs, "train", 32)
    assert train.images_at(np.array([3, 0])).shape == (2, 32, 32, 3)
    true, seen = train.with_web_pictures(5, 16)
    assert (true.shape, seen.shape) == ((5, 32, 32, 3), (5, 16, 16))
    assert np.array_equal(seen, train.with_web_pictures(5, 16)[1])
    assert train.digest() != Photographs.open(photographs, "valid", 32).digest()
    broken = Photographs([b"no picture"], "train.parquet", 32)
    with pytest.raises(UserError, match=r"train.parquet row 0: .*mend or remove"):
        broken.images_at(np.array([0]))
    with pytest.raises(UserError, match="is the folder that holds train"):
        Photographs.open(photographs / "nowhere", "train", 32)


def test_every_batch_is_half_and_half_and_each_kind_comes_round_by_itself() -> None:
    batches = HalfAndHalf(10, 30, 8, seed=1)
    for step in range(20):
        items = batches.whole(step)
        assert (items[::2] < 10).all()
        assert ((items[1::2] >= 10) & (items[1::2] < 40)).all()
    colours = np.concatenate([batches.whole(step)[1::2] for step in range(7)])
    assert len(np.unique(colours)) == 28
    greys = np.concatenate([batches.whole(step)[::2] for step in range(2)])
    assert len(np.unique(greys)) == 8


def test_processes_share_a_batch_and_each_gets_both_kinds() -> None:
    whole = HalfAndHalf(10, 30, 8, seed=1).whole(3)
    shares = [HalfAndHalf(10, 30, 8, seed=1, rank=rank, world=2)(3)[1] for rank in range(2)]
    assert np.array_equal(np.concatenate(shares), whole)
    with pytest.raises(ValueError, match="half and half"):
        HalfAndHalf(10, 30, 6, seed=1, world=2)


@pytest.fixture
def pairs(photographs: Path, rng: np.random.Generator) -> Any:
    greys = TrainingFaces(rng.integers(0, 256, (20, 16, 16), dtype=np.uint8), np.zeros((20, 7), np.float32), np.zeros(20))
    colours = Photographs.open(photographs, "train", 32)
    batches = HalfAndHalf(len(greys), len(colours), 8, seed=1)
    return PairBatches(greys, colours, batches, seed=1, size=16, codes=32, token_noise=0.5)


def test_a_batch_is_a_pure_function_of_the_step_in_another_process_too(pairs: PairBatches) -> None:
    batch, elsewhere = pairs(2), ForkingPickler.loads(ForkingPickler.dumps(pairs))(2)
    assert all(np.array_equal(one, other) for one, other in zip(batch, elsewhere, strict=True))
    shapes = [(4, 16, 16), (4, 16, 16), (4, 32, 32, 3), (4, LOOKING), (4, LOOKING), (4, 32), (4, 32)]
    assert [array.shape for array in batch] == shapes
    assert not np.array_equal(batch[2], pairs(3)[2])


def test_what_is_seen_of_a_photograph_is_what_is_painted(pairs: PairBatches) -> None:
    for step in range(5):
        _, web, photographs, *_ = pairs(step)
        small = torch.from_numpy(photographs).permute(0, 3, 1, 2).float()
        bright = ycbcr.shrink(ycbcr.luma(small), 16).squeeze(1).numpy()
        for seen, true in zip(web, bright, strict=True):
            assert np.corrcoef(seen.ravel(), true.ravel())[0, 1] > 0.4


def test_faces_are_mirrored_and_lit_alike_in_all_channels(rng: np.random.Generator) -> None:
    faces = rng.integers(60, 190, (2, 8, 8, 3), dtype=np.uint8)
    same = changed(faces, np.array([[0.0, 0.5, 0.5], [0.9, 0.5, 0.5]], np.float32))
    assert np.array_equal(same[0], faces[0])
    assert np.array_equal(same[1], faces[1, :, ::-1])
    assert changed(faces, np.array([[0.0, 0.5, 1.0]] * 2, np.float32)).mean() > faces.mean() + 5
    grey = changed(faces[..., 0], np.array([[0.9, 1.0, 0.5]] * 2, np.float32))
    assert grey.shape == (2, 8, 8)
    assert grey.std() > faces[..., 0].std()


@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_so_many_faces_have_up_to_a_quarter_of_their_codes_swapped(rng: np.random.Generator, share: float) -> None:
    noise = token_noise(rng.random((4000, 2 + 256), np.float32), share)
    swapped = (noise < 1.0).mean(axis=1)
    assert noise.min() >= 0.0
    assert abs(float((swapped > 0).mean()) - share) < 0.03
    assert swapped.max() < 0.36  # a quarter of 256 codes, in expectation
    if share:
        assert np.histogram(noise[noise < 1.0], 8, (0.0, 1.0))[0].std() < 0.05 * (noise < 1.0).sum()
