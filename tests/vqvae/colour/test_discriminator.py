"""A discriminator of brightness: it sees no colour, learns fast, and the encoder it looks through stays as it is."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from vqvae.colour.discriminator import BrightnessDiscriminator
from vqvae.colour.losses import net
from vqvae.colour.ycbcr import chroma, luma, to_rgb
from vqvae.losses import discriminator_loss


@pytest.fixture
def discriminator(small_encoder: Any) -> BrightnessDiscriminator:
    torch.manual_seed(0)
    return BrightnessDiscriminator(small_encoder(16))


def test_colour_is_not_seen_and_brightness_is(discriminator: BrightnessDiscriminator) -> None:
    faces = 0.3 + 0.4 * torch.rand(3, 3, 32, 32)
    tinted = to_rgb(luma(faces), chroma(faces) + 0.05)

    def scores(shown: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(1)
        return discriminator(shown)

    torch.testing.assert_close(scores(tinted), scores(faces), atol=1e-5, rtol=1e-4)
    assert not torch.allclose(scores(faces + 0.1), scores(faces), atol=1e-4)


def test_every_face_has_scores_of_both_halves(discriminator: BrightnessDiscriminator) -> None:
    scores = discriminator(torch.rand(3, 3, 32, 32))
    maps = discriminator._encoder[0].forward_unit(torch.rand(1, 1, 16, 16)).maps
    # Two maps of patches, an eighth as wide as the face; and the points of the encoder's maps.
    assert scores.shape == (3, 2 * 4 * 4 + sum(each[0, 0].numel() for each in maps))
    assert scores.dtype == torch.float32


def test_it_learns_to_tell_noise_from_flat_grey_and_the_encoder_stays(discriminator: BrightnessDiscriminator) -> None:
    encoder = discriminator._encoder[0]
    before = [each.clone() for each in encoder.net.parameters()]
    mine = {id(each) for each in discriminator.parameters()}
    assert not mine & {id(each) for each in encoder.net.parameters()}
    optimizer = torch.optim.Adam(discriminator.parameters(), lr=1e-3)
    for _ in range(120):
        loss = discriminator_loss(discriminator(torch.rand(8, 3, 32, 32)), discriminator(torch.full((8, 3, 32, 32), 0.5)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.7
    assert all(torch.equal(a, b) for a, b in zip(before, encoder.net.parameters(), strict=True))


@pytest.mark.parametrize("apart", [2, 4])
def test_a_net_of_single_pixels_is_found(apart: int) -> None:
    flat = torch.full((1, 1, 32, 32), 0.4)
    netted = flat.clone()
    netted[..., ::apart, ::apart] += 0.1
    assert float(net(flat)) == pytest.approx(0.0, abs=1e-6)
    # One grid of four is 0.075 above the mean of all, the others 0.025 below; one of sixteen likewise.
    alone = {2: 0.0375, 4: 0.01171875}
    # Every fourth pixel is, among those of every second, a grid that is a quarter as bright; and every second is four of 16.
    other = {2: 0.0375, 4: 0.0375 / 4}
    assert float(net(netted)) == pytest.approx(alone[apart] + other[apart], abs=1e-4)


def test_a_slope_is_hardly_a_net() -> None:
    slope = torch.linspace(0.2, 0.8, 128).expand(1, 1, 128, 128)
    assert float(net(slope)) < 0.02
