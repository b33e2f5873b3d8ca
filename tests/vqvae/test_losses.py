"""What the tokenizer's losses reward."""

from __future__ import annotations

import pytest
import torch

from encoder.classifier import EmotionEncoder
from encoder.config import CalibrationConfig, ModelConfig, PreprocessingConfig
from encoder.model import create_model
from vqvae.losses import EmotionLoss, PatchDiscriminator, discriminator_loss, pixel_loss


def make_loss() -> tuple[EmotionLoss, EmotionEncoder]:
    torch.manual_seed(0)
    net = create_model(ModelConfig(widths=(8, 16), depths=(1, 1)))
    encoder = EmotionEncoder(net, PreprocessingConfig(size=16), CalibrationConfig(answer="ferplus"))
    return EmotionLoss(encoder), encoder


def test_the_same_faces_lose_nothing() -> None:
    loss, _ = make_loss()
    faces = torch.rand(4, 1, 16, 16)
    features, divergence = loss(faces, faces)
    assert float(features) == pytest.approx(0, abs=1e-5)
    assert float(divergence) == pytest.approx(0, abs=1e-5)
    assert float(pixel_loss(faces, faces)) == 0


def test_the_gradient_reaches_the_reconstruction_and_not_the_encoder() -> None:
    loss, encoder = make_loss()
    made = torch.rand(4, 1, 16, 16, requires_grad=True)
    torch.stack(loss(made, torch.rand(4, 1, 16, 16))).sum().backward()
    assert made.grad is not None
    assert made.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in encoder.net.parameters())


def test_faces_further_away_lose_more() -> None:
    loss, _ = make_loss()
    faces = torch.rand(8, 1, 16, 16)
    noise = torch.randn_like(faces)
    near, far = (torch.stack(loss((faces + s * noise).clamp(0, 1), faces)).sum() for s in (0.02, 0.4))
    assert far > near > 0


def test_hinge_loss_of_known_scores() -> None:
    assert float(discriminator_loss(torch.tensor([2.0]), torch.tensor([-3.0]))) == 0
    assert float(discriminator_loss(torch.tensor([0.0]), torch.tensor([0.0]))) == 2


def test_the_discriminator_learns_to_tell_noise_from_flat_grey() -> None:
    torch.manual_seed(0)
    net = PatchDiscriminator(8)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    for _ in range(60):
        loss = discriminator_loss(net(torch.rand(8, 1, 16, 16)), net(torch.full((8, 1, 16, 16), 0.5)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.5
